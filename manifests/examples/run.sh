#!/usr/bin/env bash
# Runs the jobs of this folder one after the other; where one fails, it ends with what that one printed.
#
#   manifests/examples/run.sh [overlay]      default: this folder; manifests/overlays/demo for one small node
#
# The namespace and the Secret of the S3 server's keys have to be there: docs/kubeflow/install.md#one-small-node.
# Jobs of an earlier run are replaced when they have ended.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
overlay=${1:-$here}
secret=mlpipeline-minio-artifact
jobs=(pocketkube-compress pocketkube-benchmark)
all=(mpijob/pocketkube-train "${jobs[@]/#/job/}")

main() {
    if ! kubectl_ get secret "$secret" > /dev/null; then
        echo "run: the namespace pocketkube needs the Secret $secret: docs/kubeflow/install.md#one-small-node" >&2
        exit 2
    fi
    for job in "${all[@]}"; do
        refuse_running "$job"
    done
    kubectl_ delete --ignore-not-found "${all[@]}" > /dev/null
    kubectl apply --server-side -k "$overlay" > /dev/null
    follow mpijob/pocketkube-train training.kubeflow.org/job-name=pocketkube-train
    for job in "${jobs[@]}"; do
        kubectl_ patch "job/$job" --patch '{"spec": {"suspend": false}}' > /dev/null
        follow "job/$job" "batch.kubernetes.io/job-name=$job"
    done
    work=$(kubectl_ get configmap pocketkube-object-store -o jsonpath='{.data.work}')
    echo "run: done"
    echo "the file:    $work/examples/result/model.tflite"
    echo "its figures: $work/examples/benchmark/benchmark.json"
}

kubectl_() {
    kubectl --namespace pocketkube "$@"
}

# One that was interrupted goes on by itself, and so might another person's.
refuse_running() {
    local met
    met=$(kubectl_ get "$1" --ignore-not-found -o jsonpath="{.kind}$conditions")
    case $met in
        "" | *" Succeeded "* | *" Complete "* | *" Failed "* | *" Suspended "*) ;;
        *)
            echo "run: $1 is running; wait for its end, or end it: kubectl -n pocketkube delete ${all[*]}" >&2
            exit 2
            ;;
    esac
}

# Waits for the end of a job, and says meanwhile what keeps its pods from starting.
follow() {
    local job=$1 pods=$2 met reason uid said=""
    echo "run: $job"
    uid=$(kubectl_ get "$job" -o jsonpath='{.metadata.uid}')
    while true; do
        met=$(kubectl_ get "$job" -o jsonpath="$conditions")
        case $met in
            *" Succeeded "* | *" Complete "*)
                return 0
                ;;
            *" Failed "*)
                kubectl_ logs --selector "$pods" --all-containers --prefix --tail 20 >&2 || true
                echo "run: $job has failed; the lines above are the last of its pods" >&2
                # What refused, before mpirun and the workers have said that they end.
                kubectl_ logs --selector "$pods" --all-containers --tail -1 | grep '^pocketkube: ' | tail -n 1 >&2 || true
                exit 1
                ;;
        esac
        reason=$(kubectl_ get pods --selector "$pods" -o jsonpath="$waiting" | grep -v "$starting" | head -n 1 || true)
        # Where there are too few pods, as for a quota, the job's own events say why.
        [ -n "$reason" ] || reason=$(kubectl_ get events --field-selector "type=Warning,involvedObject.uid=$uid" \
            -o jsonpath='{range .items[*]}{.message}{"\n"}{end}' | tail -n 1)
        if [ -n "$reason" ] && [ "$reason" != "$said" ]; then
            echo "run: $job waits: $reason" >&2
            said=$reason
        fi
        sleep 2
    done
}

conditions='{range .status.conditions[?(@.status=="True")]} {.type} {end}'
# What every container waits for.
starting='^\(PodInitializing\|ContainerCreating\) '
# Of each container that does not start, and of each pod that has no node.
waiting='{range .items[*]}'
for kind in initContainerStatuses containerStatuses; do
    waiting+="{range .status.$kind[?(@.state.waiting)]}{.state.waiting.reason} {.state.waiting.message}{\"\\n\"}{end}"
done
waiting+='{range .status.conditions[?(@.reason=="Unschedulable")]}{.message}{"\n"}{end}{end}'

main
