#!/bin/sh
# Cuts the log into as many parts as there are counters, at line ends.
set -eu
. ./conf.sh

log=$input/log-count-data.txt
lines=$(wc -l < "$log")
size=$(( (lines + parts - 1) / parts ))
mkdir -p "$output/split_results"
part=0
while [ "$part" -lt "$parts" ]; do
    first=$(( part * size + 1 ))
    last=$(( first + size - 1 ))
    sed -n "${first},${last}p" "$log" > "$output/split_results/$part.txt"
    echo "part $part: lines $first to $last"
    part=$(( part + 1 ))
done
