#!/bin/sh
# A shell loop that saves itself: counts to COUNT_TO (100), a step every STEP_SECONDS (1).
# Its state is one file in SPOT_CHECKPOINT_DIR; see docs/job-contract.md.
total=${COUNT_TO:-100}
state=$SPOT_CHECKPOINT_DIR/count
done=$(cat "$state" 2>/dev/null || echo 0)

percent() {
    echo $((100 * done / total))
}

# Written beside and moved into place, so that it is whole at every moment.
save() {
    echo "$done" >"$state.new"
    mv "$state.new" "$state"
    percent >"$SPOT_SAVED_FILE"
}

# The shell takes a signal between two commands, never within a step of the count.
trap save USR1
trap 'save; exit 143' TERM
echo $$ >"$SPOT_READY_FILE"

while [ "$done" -lt "$total" ]; do
    sleep "${STEP_SECONDS:-1}"
    done=$((done + 1))
    percent >"$SPOT_PROGRESS_FILE"
done
save
