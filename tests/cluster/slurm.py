"""A throw-away SLURM of one node with pretended GPUs, out of Debian's packages; all of it in one folder."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

INSTALL = "apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "setpriv")
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
# no cgroups: memory is polled, and a job above what it asked for is killed
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
# no slurmdbd
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=2
MinJobAge=300
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=200
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=32000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=1-00:00:00 State=UP
PartitionName=gpu Nodes={host} MaxTime=3-00:00:00 State=UP
"""


def missing() -> list[str]:
    """The programs that are not installed here."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


@contextlib.contextmanager
def cluster(folder: Path, gpus: int = 2) -> Iterator[dict[str, str]]:
    """Start it; the environment in which SLURM's commands find it. At the end its jobs and daemons are stopped."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge.key").chmod(0o600)
    host = socket.gethostname().split(".")[0]
    ports = free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, host=host, ports=ports, user=getpass.getuser(), gpus=gpus))
    gres = f"AutoDetect=off\nNodeName={host} Name=gpu File={pretended_gpus(folder, gpus)}[0-{gpus - 1}]\n"
    (folder / "gres.conf").write_text(gres)
    environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(conf)}
    munged = ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.sock"]
    munged += [f"--{name}-file={folder}/munged.{name}" for name in ("pid", "log", "seed")]
    with contextlib.ExitStack() as stack:
        stack.enter_context(daemon(folder, munged, environment))
        wait_for((folder / "munge.sock").exists, folder)
        stack.enter_context(daemon(folder, ["slurmctld", "-D", "-c", "-f", str(conf)], environment))
        stack.enter_context(daemon(folder, ["slurmd", "-D", "-f", str(conf)], environment))
        wait_for(lambda: output(environment, "sinfo", "-h", "-p", "cpu", "-o", "%T").strip() == "idle", folder)
        try:
            yield environment
        finally:
            output(environment, "scancel", "--user", getpass.getuser())
            with contextlib.suppress(TimeoutError):
                wait_for(lambda: not output(environment, "squeue", "-h"), folder)


@contextlib.contextmanager
def daemon(folder: Path, command: list[str], environment: dict[str, str]) -> Iterator[None]:
    """Run it in the background; it ends with this block, or with this process should that be killed."""
    with (folder / f"{command[0]}.out").open("w") as said:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command], env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def pretended_gpus(folder: Path, number: int) -> str:
    """What the names of `number` character devices begin with: only of such does SLURM tell a job which are its own."""
    prefix = f"{folder}/gpu"
    for device in range(number):
        try:
            os.mknod(f"{prefix}{device}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # another /dev/null
        except PermissionError:  # not root: any that are numbered
            return "/dev/tty"
    return prefix


def free_ports(number: int) -> list[int]:
    """Ports that nothing listens on now, so that two clusters on one machine do not meet."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_for(condition: Callable[[], object], folder: Path, seconds: float = 30) -> None:
    """Until the condition holds; TimeoutError with the ends of the daemons' logs if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            logs = "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(folder.glob("*.out")))
            raise TimeoutError(f"SLURM did not do it in {seconds} s\n{logs}")
        time.sleep(0.1)


def output(environment: dict[str, str], *command: str) -> str:
    """What one of SLURM's commands prints; nothing where it fails."""
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
