# SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
#
# The latencies of threads that wake up beside burners. demo_sched.py sets data and
# picture.

set terminal svg size 760,480 font "sans-serif,13" background "white" noenhanced
set output picture
set title "From wake-up to done: threads that compute for 0.2 ms, beside burners"
set logscale y 10
set ylabel "ms"
set xlabel "share of the wake-ups that took no longer (medians of the rounds, bars from least to most)"
set xtics ("50 %%" 0, "90 %%" 1, "99 %%" 2, "99.9 %%" 3, "all" 4)
set xrange [-0.3:4.3]
set grid ytics mytics linecolor "#dddddd", linecolor "#eeeeee"
set key at screen 0.5, 0.065 center horizontal maxrows 2
set bmargin 7
# Told apart by their points, too; the colours are Okabe's and Ito's.
set style line 1 linecolor "#000000" linewidth 2 pointtype 5
set style line 2 linecolor "#0072b2" linewidth 2 pointtype 9
set style line 3 linecolor "#e69f00" linewidth 2 pointtype 7
set style line 4 linecolor "#d55e00" linewidth 3 pointtype 13
plot for [i = 0:3] data index i using 1:2:3:4 with yerrorlines linestyle i + 1 title columnheader(1)
