#!/usr/bin/env bash
# The GPU tests and benchmarks on a machine with one NVIDIA GPU, in less than ten minutes: `make gpu`. With arguments
# it is `python ARGUMENTS` in the same surroundings: packaging/gpu.sh benchmarks/learner.py --model 8B
#
# With a folder wheels/ (`make wheels`), on a machine without network: $PYTHON has torch with CUDA, the wheels bring the
# rest, and nothing is built or installed outside build/. Without it: .venv, as for every other target.
# $OUT receives tests.txt, the output of each benchmark, results.jsonl (the last line of each) and errors.txt.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${OUT:-benchmarks/results}
failed=()

no_gpu() {
    echo "make gpu needs an NVIDIA GPU; $1" >&2
    exit 1
}

prepare() {
    if [ -d wheels ]; then
        site=$PWD/build/gpu-site
        rm -rf "$site"
        "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" wheels/*.whl || exit 1
        export PYTHONPATH=$PWD:$PWD/service:$site
        # dittod's version stands in its metadata, which an installation would have left here.
        "$python" -c 'import setuptools; setuptools.setup()' --quiet egg_info || exit 1
    else
        make .venv/.installed && .venv/bin/python -m pip install --quiet --editable '.[test,bench]' || exit 1
        python=.venv/bin/python
    fi
}

# bounded SECONDS NAME COMMAND...: run it, keep what it prints, go on after it whatever became of it.
bounded() {
    local seconds=$1 name=$2
    shift 2
    printf '\n== %s, at most %s s\n' "$name" "$seconds"
    timeout --kill-after=5 "$seconds" "$@" 2> >(tee -a "$out/errors.txt" >&2) | tee "$out/$name.txt"
    local code=${PIPESTATUS[0]}
    [ "$code" -eq 0 ] || failed+=("$name (exit code $code)")
    return "$code"
}

benchmark() {
    bounded "$1" "$2" "$python" "benchmarks/$2.py" "${@:3}" && tail -n 1 "$out/$2.txt" >>"$out/results.jsonl"
}

nvidia-smi -L 2>/dev/null | grep -q GPU || no_gpu "nvidia-smi finds none"
prepare
"$python" -c 'import torch; torch.zeros(1, device="cuda")' || no_gpu "the torch of $python cannot use the one here"
export HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE
[ $# -eq 0 ] || exec "$python" "$@"
mkdir -p "$out" && rm -f "$out/results.jsonl" "$out/errors.txt"

# Libraries may be of other versions here than where warnings are errors.
bounded 170 tests "$python" -m pytest -m gpu -W default tests/gpu tests/learner tests/model tests/engine
benchmark 190 learner --quick --model 0.6B
benchmark 90 memory --quick
benchmark 75 serving --requests 20

if [ ${#failed[@]} -gt 0 ]; then
    printf '\nfailed:%s\n' "$(printf ' %s;' "${failed[@]}")" >&2
    exit 1
fi
printf '\nall passed; figures in %s/results.jsonl\n' "$out"
