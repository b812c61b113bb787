#!/usr/bin/env bash
# Runs a command that saves its state when SIGTERM or SIGUSR1 arrives and can go on from it later (`bindrae train`):
#
#   resumable.sh LOG COMMAND [ARGUMENT ...]
#
# Slurm sends the signal (slurm_extra in workflow/profiles/slurm) to all processes of a job. This shell and `tee` outlive
# it, so that the command has the time to save. A job that Slurm itself does not end then goes back into the queue under
# its old number: Snakemake goes on waiting for it, and no retry is used up. A job that was cancelled stays cancelled.
set -uo pipefail

log=$1
shift
asked=
trap 'asked=yes' TERM USR1

# When Slurm starts a job again, the log goes on.
"$@" 2>&1 | (trap '' TERM USR1; exec tee ${SLURM_RESTART_COUNT:+--append} "$log")
code=$?

# 85 is what `bindrae train` ends with after saving; torchrun ends with a code of its own.
if [ "$code" != 0 ] && [ -n "${SLURM_JOB_ID:-}" ] && { [ -n "$asked" ] || [ "$code" = 85 ]; }; then
  if [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
    echo "resumable.sh: putting job $SLURM_JOB_ID back into the queue" | tee --append "$log"
    # It ends this job. Waiting for that keeps Snakemake from taking the exit code for a failure.
    scontrol requeue "$SLURM_JOB_ID" && sleep 600
  fi
fi
exit "$code"
