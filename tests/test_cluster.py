"""The scripts of examples/cluster: their syntax, and that the command line understands what they run."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from resmlp.cli import Verb
from resmlp.cli.main import parse

FOLDER = Path(__file__).parent.parent / "examples" / "cluster"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
MANIFESTS = sorted(FOLDER.glob("*.yaml"))
GIVEN = {
    "slurm.sh": "imagenet-s12 --data.root /data/imagenet --out runs/imagenet-s12",
    "slurm-predict.sh": "MODEL /data/images --out predictions.parquet",
}
"""the arguments in the first lines of each script, for which "$@" stands"""


def understood(command: list[str]) -> Verb:
    """The verb of a command that has `resmlp` in it; a mistake in its flags raises `UserError`."""
    return parse(command[command.index("resmlp") + 1 :])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_reads_the_script(script):
    ended = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_no_objection(script):
    ended = subprocess.run(["shellcheck", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_command_of_a_script_is_understood(script):
    text = script.read_text()
    assert f"{script.name} {GIVEN[script.name]}\n" in text
    joined = text.replace("\\\n", " ")
    (line,) = [line for line in joined.splitlines() if '"$@"' in line]
    words = shlex.split(line.replace('"$@"', GIVEN[script.name]).rstrip("& "))
    understood(words)
    if "torchrun" in words:
        check_torchrun(words[words.index("torchrun") :])


def test_a_job_is_told_before_its_end_and_queued_again():
    text = (FOLDER / "slurm.sh").read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", text, re.MULTILINE))
    assert options["signal"] == "B:USR1@300"
    assert "requeue" in options
    trapped = re.search(r"^trap (\w+) USR1$", text, re.MULTILINE)[1]
    handler = re.search(rf"^{trapped}\(\) {{\n(.*?)^}}$", text, re.MULTILINE | re.DOTALL)[1]
    assert handler.index("--signal=TERM") < handler.index('wait "$step"') < handler.index("scontrol requeue")


def check_torchrun(words: list[str]) -> None:
    """The options of torchrun are those of the installed one."""
    from torch.distributed.run import get_args_parser

    options = get_args_parser().parse_args(words[1:])
    assert options.module
    assert options.training_script == "resmlp"
    assert options.rdzv_backend == "c10d"


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_the_manifest_is_valid(manifest):
    documents = list(yaml.safe_load_all(manifest.read_text()))
    (job,) = [document for document in documents if document["kind"] == "Job"]
    assert job["apiVersion"] == "batch/v1"
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] > 1
    assert ("backoffLimit" in spec) != ("backoffLimitPerIndex" in spec)
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    understood(container["command"])
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    limits, env = container["resources"]["limits"], {entry["name"]: entry for entry in container["env"]}
    assert all(isinstance(value, str) for value in limits.values()), "Kubernetes reads quantities as text"
    assert all(isinstance(entry.get("value", ""), str) for entry in env.values())
    if container["command"][0] != "torchrun":
        assert env["WORLD_SIZE"]["value"] == str(spec["completions"])
        path = env["RANK"]["valueFrom"]["fieldRef"]["fieldPath"]
        assert path == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
        return
    check_torchrun(container["command"])
    flags = dict(word[2:].split("=", 1) for word in container["command"] if word.startswith("--"))
    assert flags["nnodes"] == str(spec["completions"])
    assert flags["nproc-per-node"] == limits["nvidia.com/gpu"]
    (service,) = [document for document in documents if document["kind"] == "Service"]
    name, job_name = service["metadata"]["name"], job["metadata"]["name"]
    assert (service["apiVersion"], service["spec"]["clusterIP"], pod["subdomain"]) == ("v1", "None", name)
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job_name}
    (port,) = service["spec"]["ports"]
    assert flags["rdzv-endpoint"] == f"{job_name}-0.{name}:{port['port']}"
