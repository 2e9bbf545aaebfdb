#!/bin/sh
# Counts the words in the part that belongs to this instance.
set -eu
. ./conf.sh

number=$BATCH_COMPUTE_DAG_INSTANCE_ID
mkdir -p "$output/count_results"
for word in $words; do
    # grep ends with 1 when it counts none; that is a count, not a failure.
    count=$(grep -c "$word" "$input/split_results/$number.txt" || [ $? -eq 1 ])
    echo "$word $count"
done > "$output/count_results/$number.txt"
cat "$output/count_results/$number.txt"
