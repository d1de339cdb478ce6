#!/bin/sh
# A program that knows nothing of checkpoints: it writes one result after the other and skips those that are there.
# It works in SPOT_CHECKPOINT_DIR, which is saved as it is, and never gets a signal; see docs/job-contract.md.
last=${RESULTS:-60}
number=1
while [ "$number" -le "$last" ]; do
    if [ ! -e "result-$number" ]; then
        sleep "${STEP_SECONDS:-1}"
        echo "result $number" >"result-$number.part"
        mv "result-$number.part" "result-$number"
    fi
    # Not needed, but then nobody knows how far it is.
    echo $((100 * number / last)) >"$SPOT_PROGRESS_FILE"
    number=$((number + 1))
done
