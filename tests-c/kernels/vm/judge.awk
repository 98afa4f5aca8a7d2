# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# judge.awk -v status=N - reads TAP and writes what a shell evaluates: the points that are
# ok, all there are, and the verdict on the program: ok, skip or bad.
#
# A skip for want of the kernel is bad, unless lacking=yes.

/^ok /			{ points++; good++ }
/^not ok /		{ points++ }
/^1\.\./		{ plan = substr($1, 4); planned = 1 }
/^1\.\.0 # SKIP/	{ skipped = 1 }
/# SKIP kernel:/	{ wanting = 1 }
END {
	verdict = "ok"
	if (status || !planned || plan != points + 0 || good != points || (wanting && lacking != "yes"))
		verdict = "bad"
	else if (skipped)
		verdict = "skip"
	printf "good=%d points=%d verdict=%s\n", good, points, verdict
}
