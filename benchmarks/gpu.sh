#!/usr/bin/env bash
# Fills the GPU columns, on one node with GPUs: build check, correctness, costs, throughput, and AdaBatch at full size.
#
#   benchmarks/gpu.sh IMAGES [RANKS]      IMAGES holds train/CLASS/FILE and test/CLASS/FILE of CIFAR-10; one rank a GPU
#
# Every part runs, whatever became of the one before; what each printed stays in runs/gpu-DATE, and the last lines say
# which failed. Half an hour and the training: STOP_BEFORE=train leaves that out.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH=$PWD/.venv/bin:$PATH OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

images=${1:?benchmarks/gpu.sh IMAGES [RANKS]: IMAGES is a folder that holds train/ and test/}
ranks=${2:-$(python -c 'import torch; print(max(1, torch.cuda.device_count()))')}
out=runs/gpu-$(date +%Y%m%d-%H%M%S)
launched=(mpirun -np "$ranks" --oversubscribe)
mkdir -p "$out"
failed=()

part() { # NAME COMMAND...: runs it, keeps what it prints, goes on
    local name=$1
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    "$@" 2>&1 | tee "$out/$name.log" || failed+=("$name")
}

part devices nvidia-smi --query-gpu=name,memory.total,driver_version,compute_cap --format=csv
part doctor "${launched[@]}" adabatch doctor
part nccl python -c 'import sys; from hpc_adabatch.cluster.horovod import build; print(found := build()); sys.exit(not found["NCCL"])'
part optimizer-tests python -m pytest -q tests/optim
part exact-mean python -m pytest -q tests/launch/test_exact_mean.py tests/launch/test_lars_with_horovod.py
part optimizers python benchmarks/optimizers.py --device cuda --write "$out/optimizers-cuda.md"
part statistics-resnet20 "${launched[@]}" python benchmarks/statistics_cost.py --network resnet20
part statistics-wide "${launched[@]}" python benchmarks/statistics_cost.py --network wide
part latency "${launched[@]}" python benchmarks/decision_latency.py
for precision in float32 bfloat16 float16; do
    part "probe-$precision" "${launched[@]}" adabatch probe recipes/cifar10-resnet20-adabatch.yaml --task.root "$images" \
        --precision "$precision" --max_micro_batch 4096 --max_global_batch $((4096 * ranks)) --out "$out/probe-$precision.json"
done
part throughput "${launched[@]}" python benchmarks/throughput.py "$images" --batch $((512 * ranks))
if [ "${STOP_BEFORE:-}" != train ]; then
    part adabatch python benchmarks/reproduce adabatch --setting full --images "$images" --ranks "$ranks" --write "$out"
fi

printf '\nin %s; ' "$out"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[*]}"
    exit 1
fi
printf 'all parts done\n'
