# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# The latencies of threads that wake up beside burners. demo_sched.py sets data, picture, and
# what the regimes are called.

set terminal svg size 760,460 font "sans-serif,13" background "white"
set output picture
set title "Wake-up to done, threads that compute for 0.2 ms beside burners (median of the rounds, least to most)"
set title font "sans-serif,13"
set logscale y 10
set ylabel "ms"
set xlabel "share of the wake-ups that took no longer"
set xtics ("50 %%" 0, "90 %%" 1, "99 %%" 2, "99.9 %%" 3, "all" 4)
set xrange [-0.3:4.3]
set grid ytics mytics linecolor "#dddddd", linecolor "#eeeeee"
set key top left
# Told apart by their points, too; the colours are Okabe's and Ito's.
set style line 1 linecolor "#000000" linewidth 2 pointtype 5
set style line 2 linecolor "#0072b2" linewidth 2 pointtype 9
set style line 3 linecolor "#e69f00" linewidth 2 pointtype 7
set style line 4 linecolor "#d55e00" linewidth 3 pointtype 13
plot data index 0 using 1:2:3:4 with yerrorlines linestyle 1 title kernels, \
     data index 1 using 1:2:3:4 with yerrorlines linestyle 2 title nice, \
     data index 2 using 1:2:3:4 with yerrorlines linestyle 3 title off, \
     data index 3 using 1:2:3:4 with yerrorlines linestyle 4 title hints
