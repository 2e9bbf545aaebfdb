#!/bin/sh
# Adds up what the counters found.
set -eu
. ./conf.sh

result=
for word in $words; do
    total=0
    for part in "$input"/count_results/*.txt; do
        while read -r name count; do
            if [ "$name" = "$word" ]; then total=$(( total + count )); fi
        done < "$part"
    done
    result="$result${result:+, }\"$word\": $total"
done
echo "{$result}" > "$output/merge_result.txt"
cat "$output/merge_result.txt"
