# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual machines that share disks and a network: a cluster with real kernels on one small machine.

    lab.node(1) ──tap── bridge ──tap── lab.node(2) ...     in a network namespace of the lab's own
         │                                  │
         └────── leg0, leg1, log ───────────┘              raw files, the same for every machine

A machine's root is the host's own, read-only, under a tmpfs: every package of the host is there, nothing a machine does lasts.
Commands reach it through a virtio port, so a machine that is cut off from the network still answers. Everything that a lab made
ends with it, also after Ctrl-C; a lab that fails leaves its logs in one folder and prints where.
"""
import concurrent.futures
import ctypes
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("CLOGD_BUILD", os.path.join(TOP, "build"))
MIB = 1 << 20
REGION = 512 << 10
DEBUG_KERNEL = os.environ.get("CLOGD_LAB_DEBUG")  # folder with bzImage and release, made by tests/check-debug.sh
TURN = os.environ.get("CLOGD_LAB_TURN")  # a lock file: labs that share it boot side by side, but tell one after the other
SLOW = float(os.environ.get("CLOGD_LAB_PATIENCE", "1"))  # multiplies every limit of patience; none of them is an assertion
# What a kernel says when something is wrong with it.
REPORTS = "BUG:|WARNING:|KASAN|INFO: (possible|inconsistent|suspicious|task)|sleeping function|ODEBUG|Oops|general protection fault|refcount_t"
# Of every machine: the root's, the disks', the network's, device-mapper's.
MODULES = "9pnet_virtio", "9p", "overlay", "virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "configfs", "dm-mod", "dm-mirror", "dm-log-userspace"


ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class LabError(Exception):
    pass


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def sh(*command, check=True):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stdout.strip()}")
    return done.stdout


# Pacemaker's agent, as Pacemaker calls it.
AGENT = (f"OCF_ROOT=/usr/lib/ocf OCF_RESKEY_binary={BUILD}/bin/clogd OCF_RESKEY_clogctl={BUILD}/bin/clogctl OCF_RESOURCE_INSTANCE=clogd "
         f"OCF_RESOURCE_TYPE=clogd OCF_RESOURCE_PROVIDER=clogd {TOP}/ha-configs/ocf/clogd")


def expect(truth, what):
    if not truth:
        raise LabError(what)


def wait_for(what, condition, seconds=60):
    """Waits until the condition holds; patience is generous because the machines are emulated."""
    end = time.time() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.time() > end:
            raise LabError(f"waited {seconds * SLOW:.0f} s in vain: {what}")
        time.sleep(0.25)


def kernels():
    """Releases that are installed with their modules, oldest first."""
    found = [r for r in os.listdir("/lib/modules") if os.path.exists(f"/boot/vmlinuz-{r}")]
    return sorted(found, key=lambda r: [int(x) for x in r.split("-")[0].split("+")[0].split(".")])


def default_kernel():
    wanted = os.environ.get("CLOGD_LAB_KERNEL")
    found = kernels()
    if not found:
        raise LabError("no kernel is installed: make deps")
    if wanted:
        matching = [r for r in found if re.match(re.escape(wanted) + r"(?![0-9])", r)]  # 6.1 is not 6.12
        if not matching:
            raise LabError(f"no installed kernel begins with {wanted}: there are {', '.join(found)}")
        return matching[-1]
    return found[0]


def at_once(jobs):
    """Runs them side by side; the first failure is told when all have ended."""
    pool = concurrent.futures.ThreadPoolExecutor(len(jobs))
    try:
        for result in [pool.submit(job) for job in jobs]:
            result.result()
    except BaseException as e:
        failed = isinstance(e, Exception)  # else a signal: what they wait for goes away
        pool.shutdown(wait=failed, cancel_futures=not failed)
        raise
    pool.shutdown()


def die_with_parent():
    ctypes.CDLL("libc.so.6").prctl(1, signal.SIGKILL)


def boot_beside_another():
    die_with_parent()
    os.nice(10)  # behind the machines of the story that is told, before whatever else tests/check.sh has aside


def initramfs(release, folder):
    """busybox, guest-init and the modules that every machine has."""
    path = os.path.join(folder, f"initramfs-{release}")
    tree = tempfile.mkdtemp(prefix="initramfs.", dir=folder)
    for d in ("bin", "modules", "dev", "proc", "sys"):
        os.mkdir(os.path.join(tree, d))
    shutil.copy("/bin/busybox", os.path.join(tree, "bin/busybox"))
    shutil.copy(os.path.join(HERE, "guest-init"), os.path.join(tree, "init"))
    order = []
    for module in () if DEBUG_KERNEL else MODULES:
        for line in sh("modprobe", "-S", release, "--show-depends", module).splitlines():
            words = line.split()
            if words and words[0] == "insmod" and words[1] not in order:
                order.append(words[1])
    for file in order:
        target = os.path.join(tree, "modules", os.path.basename(file))
        if file.endswith(".xz"):
            target = target[:-3]
            with open(target, "wb") as out:
                subprocess.run(["xz", "-dc", file], stdout=out, check=True)
        else:
            shutil.copy(file, target)
    with open(os.path.join(tree, "modules.order"), "w") as f:
        f.write("\n".join(os.path.basename(x).removesuffix(".xz") for x in order))
    os.chmod(os.path.join(tree, "init"), 0o755)
    subprocess.run(f"cd {tree} && find . | cpio -o -H newc --quiet | gzip -1 > {path}", shell=True, check=True)
    shutil.rmtree(tree)
    return path


def unpacked(release):
    """The kernel as the emulator starts it soonest: an emulated CPU takes seconds to unpack it. Once per kernel."""
    packed, path = f"/boot/vmlinuz-{release}", os.path.join(BUILD, "lab", f"vmlinux-{release}")
    if os.path.exists(path):
        return path
    with open(packed, "rb") as f:
        image = f.read()
    for magic, command in ((b"\xfd7zXZ\0", ("xz", "-dc", "--single-stream")), (b"\x28\xb5\x2f\xfd", ("zstd", "-dcq"))):
        at = image.find(magic)
        if at < 0 or not shutil.which(command[0]):
            continue
        plain = subprocess.run(command, input=image[at:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        if plain.startswith(b"\x7fELF"):
            with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), delete=False) as f:
                f.write(plain)
            os.replace(f.name, path)
            return path
    return packed


def kvm_works(image, ramfs):
    """/dev/kvm may be there and still not run a stock kernel, so a real boot decides; once per machine."""
    verdict = os.path.join(BUILD, "lab", "kvm")
    if os.path.exists(verdict):
        return open(verdict).read() == "yes"
    works = False
    if os.path.exists("/dev/kvm"):
        try:
            out = subprocess.run(["qemu-system-x86_64", "-M", "q35", "-accel", "kvm", "-cpu", "host", "-m", "512", "-kernel", image,
                                  "-initrd", ramfs, "-append", "console=ttyS0 panic=-1", "-nographic", "-no-reboot"], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10).stdout
            works = b"Linux version" in out
        except (subprocess.TimeoutExpired, OSError) as e:
            works = b"Run /init" in (getattr(e, "stdout", None) or b"")
    with open(verdict, "w") as f:
        f.write("yes" if works else "no")
    return works


class Node:
    def __init__(self, lab, number):
        self.lab, self.number = lab, number
        self.process = None
        self.folder = os.path.join(lab.folder, f"node{number}")
        os.makedirs(self.folder, exist_ok=True)
        self.tap = f"tap{number}"
        self.boots = 0

    # -- life ---------------------------------------------------------------------------------------------------------------
    def start(self):
        self.boots += 1
        for s in ("qmp", "agent"):
            if os.path.exists(self.socket(s)):
                os.unlink(self.socket(s))
        serial = [f"{self.folder}/{n}.{self.boots}.log" for n in ("console", "clogd", "corosync")]
        disks = []
        for name, path in self.lab.disks.items():
            if name in self.lab.twice:
                for way in self.lab.ways(name):
                    disks += ["-device", f"virtio-scsi-pci,id={way}", "-drive", f"file={path},if=none,id={way}-disk,format=raw,cache=none,aio=native,file.locking=off",
                              "-device", f"scsi-hd,drive={way}-disk,bus={way}.0,id={way}-hd,serial={name},wwn=0x5000c500{sum(name.encode()):08x},share-rw=on"]
                continue
            disks += ["-drive", f"file={path},if=none,id={name},format=raw,cache=none,aio=native,file.locking=off",
                      "-device", f"virtio-blk-pci,drive={name},serial={name},share-rw=on"]
        # Room for a second processor makes the emulator keep the guest's memory barriers. Without them a virtqueue now and then loses a notification, and
        # every request in it waits for ever: the devices run in other threads also where there is one processor.
        # A plain processor: the wide vectors of newer ones are slow where they are emulated.
        accel = ["-accel", "kvm", "-cpu", "host"] if self.lab.kvm else ["-accel", f"tcg,thread={'single' if self.lab.counted else 'multi'}", "-cpu", "Nehalem"]
        if self.lab.counted:
            accel += ["-icount", "shift=0"]
        command = ["ip", "netns", "exec", self.lab.netns, "qemu-system-x86_64", "-M", "q35", *accel, "-m", str(self.lab.memory), "-smp", "1" if self.lab.counted else f"{self.lab.cpus},maxcpus={max(2, self.lab.cpus)}",
                   "-kernel", self.lab.image, "-initrd", self.lab.ramfs,
                   # no_timer_check: a machine that waits for its turn may miss the ticks that the kernel counts at its start. The rest is speed; and memory that
                   # is not cleared for us hides less.
                   "-append", f"console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off no_timer_check log_buf_len={'16M' if DEBUG_KERNEL else '4M'} init_on_alloc=0 cryptomgr.notests audit=0 apparmor=0 lab.lab={HERE} lab.node={self.number}",
                   "-display", "none", "-no-reboot", "-monitor", "none", "-vga", "none",
                   *(x for f in serial for x in ("-serial", f"file:{f}")),
                   "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
                   "-netdev", f"tap,id=net,ifname={self.tap},script=no,downscript=no",
                   "-device", f"virtio-net-pci,netdev=net,mac=52:54:00:77:00:{self.number:02x}",
                   "-device", "virtio-serial", "-chardev", f"socket,id=agent,path={self.socket('agent')},server=on,wait=off",
                   "-device", "virtserialport,chardev=agent,name=agent",
                   "-qmp", f"unix:{self.socket('qmp')},server=on,wait=off", *disks]
        with open(f"{self.folder}/qemu.log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=boot_beside_another if self.beside_another() else die_with_parent)
        self.answers, self.next_id, self.ready = {}, 1, threading.Event()
        self.changed = threading.Condition()
        self.suspended = set()

    def beside_another(self):
        """It boots with what the story that is told leaves of the processors."""
        return TURN and self.boots == 1

    def socket(self, name):  # the path of a unix socket is short, the folder's may not be
        return os.path.join(self.lab.sockets, f"{name}{self.number}")

    def connect(self):
        seconds = 600 if self.beside_another() else 180
        def agent():
            if self.process.poll() is not None:
                raise LabError(f"node {self.number} ended while it booted; see {self.folder}/qemu.log")
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(self.socket("agent"))
                return s
            except OSError:
                return None
        self.agent = wait_for(f"node {self.number}'s virtio port", agent, seconds)
        threading.Thread(target=self.listen, args=(self.agent,), daemon=True).start()
        end = time.time() + seconds * SLOW
        while not self.ready.wait(1) and self.alive() and time.time() < end:
            pass
        if not self.ready.is_set():
            raise LabError(f"node {self.number} did not boot; see {self.folder}")

    def listen(self, agent):
        pending = b""
        while True:
            try:
                data = agent.recv(65536)
            except OSError:
                return
            if not data:
                return
            pending += data
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                try:
                    answer = json.loads(line)
                except ValueError:
                    continue
                if answer["id"] == 0:
                    self.ready.set()
                    continue
                with self.changed:
                    self.answers[answer["id"]] = answer
                    self.changed.notify_all()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """Power is cut."""
        say(f"node {self.number} loses power")
        self.end()

    def end(self):
        if self.alive():
            self.process.kill()
        if self.process:
            self.process.wait()
        self.process = None

    def qmp(self, command, **arguments):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.socket("qmp"))
        f = s.makefile("rw")
        f.readline()
        for c in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
            f.write(json.dumps(c) + "\n")
            f.flush()
            while True:
                answer = json.loads(f.readline())
                if "return" in answer or "error" in answer:
                    break
        s.close()
        if "error" in answer:
            raise LabError(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def freeze(self):
        say(f"node {self.number} freezes")
        self.qmp("stop")

    def thaw(self):
        say(f"node {self.number} goes on")
        self.qmp("cont")

    def cut(self):
        say(f"node {self.number} is cut off from the network")
        self.lab.in_net("ip", "link", "set", self.tap, "down")

    def heal(self):
        say(f"node {self.number} is back on the network")
        self.lab.in_net("ip", "link", "set", self.tap, "up")

    def threads(self):
        return [int(thread) for thread in os.listdir(f"/proc/{self.process.pid}/task")]

    def keep_to(self, *processors):
        """The machine and its disks run on these of the host's processors; none named: on all."""
        for thread in self.threads():
            os.sched_setaffinity(thread, processors or os.sched_getaffinity(0))

    def throttle(self, disk, bytes_per_second):
        """0: as fast as it can."""
        self.qmp("block_set_io_throttle", device=disk, bps=bytes_per_second, bps_rd=0, bps_wr=0, iops=0, iops_rd=0, iops_wr=0)

    # -- commands --------------------------------------------------------------------------------------------------------------
    def run(self, command, check=True, timeout=120):
        changed, life = self.changed, self.boots  # a machine that is started again has new ones
        with changed:
            number, self.next_id = self.next_id, self.next_id + 1
        self.agent.sendall((json.dumps({"id": number, "command": command, "timeout": timeout * SLOW}) + "\n").encode())
        end = time.time() + timeout * SLOW + 30
        with changed:
            while life == self.boots and number not in self.answers:
                if time.time() > end or not self.alive():
                    break
                changed.wait(1)
            if life != self.boots or number not in self.answers:
                raise LabError(f"node {self.number} did not answer: {command}")
            answer = self.answers.pop(number)
        if check and answer["status"]:
            raise LabError(f"node {self.number}: '{command}' ended with {answer['status']}: {answer['output'].strip()}")
        return answer["output"] if check else (answer["status"], answer["output"])

    def background(self, command, timeout=600):
        """Starts a command; the returned function waits for it and gives (status, output)."""
        box = {}
        thread = threading.Thread(target=lambda: box.update(r=self.try_run(command, timeout)), daemon=True)
        thread.start()

        def result():
            thread.join()
            return box["r"]
        return result

    def try_run(self, command, timeout):
        try:
            return self.run(command, check=False, timeout=timeout)
        except LabError as e:
            return 255, str(e)

    def load(self, mode, device, gently=False, **options):
        """Starts tests/lab/load.py; the returned function waits for it and gives its figures. Gently: other commands of the machine come first."""
        options["seconds"] = options.get("seconds", 5) * SLOW
        words = " ".join(f"--{k.replace('_', '-')} {v}" if v is not True else f"--{k.replace('_', '-')}" for k, v in options.items())
        result = self.background(f"{'nice -n 19 ' if gently else ''}/usr/bin/python3 {HERE}/load.py {mode} {device} {words}", timeout=options["seconds"] + 180)

        def figures():
            status, out = result()
            try:
                found = json.loads(out.strip().splitlines()[-1])
            except (ValueError, IndexError):
                raise LabError(f"node {self.number}: the load ended with {status}: {out.strip()}") from None
            found["status"] = status
            return found
        return figures

    def keep_writing(self, device, **options):
        """Writes that are verified; the returned function ends them, and gives their figures if none was lost."""
        self.run("rm -f /run/enough")
        load = self.load("write", device, **{"seconds": 600, "until": "/run/enough", "depth": 4, "span_mib": 8, "verify": True, **options})

        def enough(what):
            self.run("touch /run/enough")
            return self.expect(load(), what)
        return enough

    # -- cluster ---------------------------------------------------------------------------------------------------------------
    def start_corosync(self):
        nodes = "".join(f"  node {{ nodeid: {n.number} name: node{n.number} ring0_addr: 10.77.0.{n.number} }}\n".replace(" name", "\n    name")
                        .replace(" ring0", "\n    ring0").replace("{ ", "{\n    ").replace(" }", "\n  }") for n in self.lab.nodes)
        conf = (f"totem {{\n  version: 2\n  cluster_name: lab\n  transport: {self.lab.transport}\n  token: {self.lab.token}\n  crypto_cipher: none\n  crypto_hash: none\n}}\n"
                f"nodelist {{\n{nodes}}}\nquorum {{\n  provider: corosync_votequorum\n  {self.lab.quorum}\n}}\nlogging {{\n  to_stderr: yes\n  to_syslog: no\n}}\n"
                "system {\n  sched_rr: no\n  move_to_root_cgroup: no\n}\n")
        self.run(f"mkdir -p /etc/corosync && cat > /etc/corosync/corosync.conf <<'X'\n{conf}X\nsetsid corosync -f > /dev/ttyS2 2>&1 < /dev/null &")

    def use_our_mirror(self, **parameters):
        """The target of this tree takes the place of the kernel's own."""
        if self.lab.target != "mirror":
            parameters["target_name"] = self.lab.target
        words = " ".join(f"{k}={v}" for k, v in parameters.items())
        folder = f"{BUILD}/modules/{self.lab.kernel}"
        self.run(f"modprobe -qr dm-mirror; modprobe -q dm-log; grep -q ^dm_log_cluster /proc/modules || insmod {folder}/dm-log-cluster.ko; insmod {folder}/dm-raid1-ext.ko {words}")
        self.self_tested("log-cluster", "raid1-ext")

    def self_tested(self, *modules):
        """The debug kernel's modules test themselves when they are loaded."""
        for module in modules if DEBUG_KERNEL else ():
            if f"{module}: self-tests passed" not in self.run("dmesg"):
                raise LabError(f"node {self.number}: {module} has not passed its self-tests")

    def reports(self):
        """What its kernel has complained about since it booted, whatever was cleared from dmesg."""
        self.run("dd if=/dev/kmsg iflag=nonblock bs=8k status=none > /run/kmsg 2> /dev/null; true")
        expect("Linux version" in self.run("grep -m 1 'Linux version' /run/kmsg; true"), f"node {self.number}: the kernel's log has lost its beginning")
        return self.run(f"grep -E '{REPORTS}' /run/kmsg; rm /run/kmsg").splitlines()

    def trace(self, *systems):
        """Tracepoints of these modules, from now on; the returned function tells which have been hit."""
        tracing = "/sys/kernel/debug/tracing"
        self.run(" && ".join(f"echo 1 > {tracing}/events/{system}/enable" for system in systems))
        return lambda: set(re.findall(r" (\w+): ", self.run(f"cat {tracing}/trace")))

    def scsi_disks(self, count, options):
        """Disks in memory (scsi_debug); their names."""
        load = f"insmod {DEBUG_KERNEL}/linux/drivers/scsi/scsi_debug.ko" if DEBUG_KERNEL else "modprobe sd_mod && modprobe scsi_debug"
        self.run(f"{load} add_host={count} delay=0 {options}")
        return self.wait_for_disks("the disks in memory", count, "/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*")

    def wait_for_disks(self, what, count, pattern):
        """So many in sysfs; their names, in the order of where they are."""
        return wait_for(what, lambda: (found := self.run(f"ls -d {pattern} 2>/dev/null; true").split()) and len(found) == count and [f.rsplit("/", 1)[1] for f in found])

    def reads_of(self, path):
        """How many reads a block device has had, as its node counts them."""
        return int(self.run(f"cat /sys/block/$(basename $(readlink -f {path}))/stat").split()[0])

    def use_guest_packages(self):
        """What tests/install-deps.sh keeps from the host: multipath-tools, open-iscsi, libvirt."""
        self.run(f"tar -C {BUILD}/lab/guest -cf - . | tar -C / --keep-directory-symlink -xf - && ldconfig && udevadm control --reload")

    def start_clogd(self, options=""):
        self.run(f"setsid {BUILD}/bin/clogd -f {options} > /dev/ttyS1 2>&1 < /dev/null & for i in $(seq 200); do grep -q @clogd /proc/net/unix && {BUILD}/bin/clogctl version > /dev/null 2>&1 && break; sleep 0.1; done")

    def wait_for_channel(self):
        """Until clogd speaks with dm-log-cluster."""
        wait_for("the channel", lambda: self.run("ls -l /proc/$(pgrep -x clogd)/fd").count("/dev/clogd"))

    def kill_clogd(self, sig="KILL"):
        self.run(f"pkill -{sig} -x clogd")

    def status(self):
        code, out = self.run(f"{BUILD}/bin/clogctl status --json", check=False)
        try:
            return json.loads(out)
        except ValueError:
            return {"ok": False, "error": out, "logs": []}

    def expect(self, load, what="load", errors=0):
        """The figures of a load that must have seen no error and nothing old."""
        if load["errors"] > errors or load["went_back"] or load["older_than_acked"]:
            raise LabError(f"node {self.number}: {what}: {load}")
        return load

    def log_status(self, mirror):
        for log in self.status().get("logs", []):
            if log["uuid"] == mirror.uuid:
                return log
        return None


class Mirror:
    """A mirror over leg0, leg1 with the cluster's log, on some or all nodes: the stock target, or ours if the lab says so."""

    def __init__(self, lab, name="m0", log="log", size_mib=None, legs=("leg0", "leg1"), region=REGION, extra="", features="1 handle_errors", uuid=None):
        self.lab, self.name, self.log, self.legs, self.region, self.extra, self.features = lab, name, log, legs, region, extra, features
        self.uuid = uuid or f"LVM-{name}"
        size = size_mib * MIB if size_mib else lab.sizes[legs[0]]
        self.sectors = size // 512
        self.regions = -(-size // region)

    def table(self, ours=None):
        """For our target or the stock one; None: which of them the lab says."""
        rs = self.region // 512
        extra = f" {self.extra}" if self.extra else ""
        log = f"clustered-disk {self.lab.path(self.log)} {rs}{extra}" if self.log else f"clustered-core {rs}{extra}"
        argc = 1 + len(log.split())
        if self.lab.ours if ours is None else ours:
            return f"0 {self.sectors} {self.lab.target} cluster {argc} {self.uuid} {log.removeprefix('clustered-')} {len(self.legs)} {self.leg_words()} {self.features}"
        return f"0 {self.sectors} mirror userspace {argc} {self.uuid} {log} {len(self.legs)} {self.leg_words()} {self.features}"

    def leg_words(self):
        return " ".join(f"{self.lab.path(leg)} 0" for leg in self.legs)

    def create(self, *nodes):
        results = [(n, n.background(f"dmsetup create {self.name} --table '{self.table()}'", 120)) for n in (nodes or self.lab.nodes)]
        for n, result in results:
            status, out = result()
            if status:
                raise LabError(f"node {n.number}: dmsetup create {self.name}: {out}")

    def remove(self, *nodes):
        for n in nodes or [n for n in self.lab.nodes if n.alive()]:
            n.run(f"dmsetup remove --retry {self.name}")

    def reload(self, *nodes, table=None, suspend="--nolockfs"):
        """A new table takes the old one's place as LVM does it: every node loads it, all are suspended, all go on."""
        nodes = nodes or self.lab.nodes
        for n in nodes:
            n.run(f"dmsetup load {self.name} --table '{table or self.table()}'")
        for step in (f"suspend {suspend}", "resume"):
            at_once([lambda n=n, step=step: n.run(f"dmsetup {step} {self.name}") for n in nodes])

    @property
    def path(self):
        return f"/dev/mapper/{self.name}"

    def in_sync(self, *nodes):
        for n in nodes or [n for n in self.lab.nodes if n.alive()]:
            _, _, _, count, *words = n.run(f"dmsetup status {self.name}").split()
            done, total = words[int(count)].split("/")
            if done != total:
                return False
            log = n.log_status(self)
            if not log or log["phase"] != "active" or log["unsynced"]:
                return False
        return True

    def wait_sync(self, *nodes, seconds=180):
        wait_for(f"{self.name} in sync", lambda: self.in_sync(*nodes), seconds)

    def message(self, text, node=None):
        return (node or self.lab.node(1)).run(f"dmsetup message {self.name} 0 {text}")

    def spoil(self, leg, region):
        """Makes a region of one leg differ, beneath the mirror."""
        self.lab.node(1).run(f"dd if=/dev/urandom of={self.lab.path(leg)} bs=4k seek={region * self.region // 4096 + 5} count=1 oflag=direct conv=notrunc 2>&1")

    def scrub(self, what="start", node=None):
        """Begun, waited for; what it reports."""
        def report():
            words = self.message("scrub report", node).split()
            return dict(zip(words[::2], words[1::2]))
        self.message(f"scrub {what}", node)
        wait_for("the scrub to end", lambda: report()["state"] == "done")
        return report()

    def legs_identical(self):
        """Compares the legs on the host, beneath every cache of the machines."""
        for n in self.lab.nodes:
            if n.alive():
                n.run("sync")
        paths = [self.lab.disks[leg] for leg in self.legs]
        differ = set()
        for other in paths[1:]:
            with open(paths[0], "rb") as a, open(other, "rb") as b:
                for r in range(self.regions):
                    x, y = a.read(self.region), b.read(self.region)
                    if x != y:
                        differ.add(r)
        return sorted(differ)

    def legs_on(self, node):
        return [leg["state"] for leg in node.log_status(self)["legs"]]

    def legs_agreed(self, *states):
        wait_for(f"legs {', '.join(states)} on every node", lambda: all(self.legs_on(n) == list(states) for n in self.lab.nodes if n.alive()))

    def check_legs(self):
        differ = self.legs_identical()
        if differ:
            raise LabError(f"the legs of {self.name} differ in {len(differ)} regions: {differ[:10]}")
        say(f"the legs of {self.name} are identical")


class LocalMirror(Mirror):
    """A mirror of one node, with a log that only its kernel knows: `disk` (a log device) or `core`."""

    def table(self):
        rs = self.region // 512
        words = ([self.lab.path(self.log)] if self.log else []) + [str(rs)] + self.extra.split()
        return f"0 {self.sectors} {self.lab.target} {'disk' if self.log else 'core'} {len(words)} {' '.join(words)} {len(self.legs)} {self.leg_words()} {self.features}"

    def status(self):
        """(regions in sync, a letter per leg)"""
        words = self.lab.node(1).run(f"dmsetup status {self.name}").split()
        at = words.index(self.lab.target) + 2 + len(self.legs)
        return int(words[at].split("/")[0]), words[at + 2]

    def in_sync(self, *_):
        return self.status()[0] == self.regions

    def stats(self):
        words = self.message("stats").split()
        return dict(zip(words[::2], (int(x) for x in words[1::2])))


class Lab:
    def __init__(self, nodes=3, disks=None, cpus=1, memory=640, token=1000, name=None, kernel=None, transport="udpu", twice=(), counted=False, quorum=""):
        """Corosync's usual transport, knet, takes seconds to start in an emulated machine: stories about the network have it.
        `twice`: disks that a machine sees by two SCSI adapters each. `counted`: a nanosecond is an instruction that the machine executes, or time that it sleeps, so what its own
        code costs is measured alike on every host; one processor each."""
        self.transport, self.twice, self.counted = transport, twice, counted
        self.quorum = quorum  # a line of corosync.conf's section of that name
        self.sizes = disks or {"leg0": 64 * MIB, "leg1": 64 * MIB, "log": 4 * MIB}
        self.cpus, self.memory, self.token = cpus, memory, int(token * SLOW)
        if DEBUG_KERNEL:
            with open(os.path.join(DEBUG_KERNEL, "release")) as f:
                self.kernel = f.read().strip()
            self.image = os.path.join(DEBUG_KERNEL, "bzImage")
            self.target = "mirror-ext"  # the kernel's own is built in
        else:
            self.kernel = kernel or default_kernel()
            self.target = "mirror"
        self.ours = os.environ.get("CLOGD_LAB_TARGET") == "ours"  # dm-raid1-ext and dm-log-cluster, not the stock target
        self.name = name or os.path.basename(sys.argv[0]).removesuffix(".py")
        root = os.path.join(BUILD, "lab")
        os.makedirs(root, exist_ok=True)
        if not DEBUG_KERNEL:
            self.image = unpacked(self.kernel)
        self.folder = tempfile.mkdtemp(prefix=f"{self.name}-", dir=root)
        self.sockets = tempfile.mkdtemp(prefix="clogd-lab-")
        self.netns = f"clogd-lab-{os.getpid()}-{os.path.basename(self.folder)[-4:]}"
        self.disks = {}
        self.nodes = []
        self.count = nodes

    def node(self, number):
        return self.nodes[number - 1]

    def path(self, disk):
        """Each disk is a linear device of its own on each node, so that it can fail there."""
        return f"/dev/mapper/{disk}"

    def device(self, disk):
        """What is below it."""
        return f"/dev/disk/by-id/virtio-{disk}"

    def ways(self, disk):
        """To one that is there twice: of each its adapter's name."""
        return [f"{disk}-{way}" for way in (1, 2)]

    def in_net(self, *command):
        return sh("ip", "netns", "exec", self.netns, *command)

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.clean(failed=True)
            raise
        return self

    def build(self):
        self.ramfs = initramfs(self.kernel, self.folder)
        self.kvm = not self.counted and kvm_works(self.image, self.ramfs)
        say(f"{self.count} node(s), Linux {self.kernel}, {'KVM' if self.kvm else 'emulated'}, {'our' if self.ours else 'the stock'} target")
        for name, size in self.sizes.items():
            self.disks[name] = os.path.join(self.folder, name + ".img")
            with open(self.disks[name], "wb") as f:
                f.truncate(size)
        sh("ip", "netns", "add", self.netns)
        self.in_net("ip", "link", "set", "lo", "up")
        self.in_net("ip", "link", "add", "br0", "type", "bridge")
        self.in_net("ip", "link", "set", "br0", "up")
        for number in range(1, self.count + 1):
            node = Node(self, number)
            self.in_net("ip", "tuntap", "add", node.tap, "mode", "tap")
            self.in_net("ip", "link", "set", node.tap, "master", "br0", "up")
            self.nodes.append(node)
        self.boot(*self.nodes)
        if TURN:
            self.take_turn()
        self.begin = time.time()

    def take_turn(self):
        """Several machines have the host to themselves; labs of one machine each do not disturb each other."""
        self.turn = open(TURN, "a")
        fcntl.flock(self.turn, fcntl.LOCK_EX if self.count > 1 else fcntl.LOCK_SH)
        for node in self.nodes:
            for thread in node.threads():
                os.setpriority(os.PRIO_PROCESS, thread, 0)
        say("its turn")

    def boot(self, *nodes):
        for n in nodes:
            n.start()
        at_once([lambda n=n: self.prepare(n) for n in nodes])
        say(f"node(s) {', '.join(str(n.number) for n in nodes)} booted")

    def prepare(self, n):
        n.connect()
        linear = ";".join(f"{d},,,rw,0 {self.sizes[d] // 512} linear {self.device(d)} 0" for d in self.disks if d not in self.twice)
        if linear:
            n.run(f"dmsetup create --concise '{linear}'")
        if self.ours:
            n.use_our_mirror()

    def start_cluster(self, *nodes, options=""):
        nodes = nodes or self.nodes
        at_once([n.start_corosync for n in nodes])
        at_once([lambda n=n: n.start_clogd(options) for n in nodes])
        alive = sum(1 for n in self.nodes if n.alive())
        for n in nodes:
            wait_for(f"node {n.number} in the cluster", lambda n=n: (s := n.status()).get("ok") and s["corosync"]["settled"]
                     and sum(1 for x in s["nodes"] if x["clogd"]) >= min(alive, len(nodes)), 120)
        say("the cluster is quorate")

    def blank_log(self):
        """Nothing is known of any mirror."""
        self.node(1).run(f"dd if=/dev/zero of={self.path('log')} bs=4k count=1 oflag=direct conv=notrunc 2>&1")

    def fill(self, disk, pattern=None):
        """Contents from outside, before the machines use the disk."""
        with open(self.disks[disk], "r+b") as f:
            left = self.sizes[disk]
            while left:
                n = min(left, MIB)
                f.write(os.urandom(n) if pattern is None else bytes([pattern]) * n)
                left -= n

    def swap_disk(self, disk, table, nodes):
        """Puts another table under a disk, as nearly at the same moment on all nodes as can be."""
        nodes = nodes or self.nodes
        for step in (f"load {disk} --table \"0 $(blockdev --getsz /dev/mapper/{disk}) {table}\"", f"suspend --nolockfs --noflush {disk} && dmsetup resume {disk}"):
            at_once([lambda n=n: n.run(f"dmsetup {step}") for n in nodes])

    def fail_disk(self, disk, *nodes):
        say(f"{disk} fails on node(s) {', '.join(str(n.number) for n in nodes or self.nodes)}")
        self.swap_disk(disk, "error", nodes)

    def restore_disk(self, disk, *nodes):
        self.swap_disk(disk, f"linear {self.device(disk)} 0", nodes)

    def __exit__(self, kind, error, trace):
        try:
            if kind not in (None, SystemExit, KeyboardInterrupt):
                self.collect()
        finally:
            self.clean(failed=kind is not None)
        if kind is not None and issubclass(kind, LabError):
            print(f"FAILED: {self.name}: {error}", file=sys.stderr)

    def check_reports(self):
        """A debug kernel has found nothing to complain about."""
        for n in self.nodes:
            if not n.alive():
                continue
            n.run("echo scan > /sys/kernel/debug/kmemleak; sleep 6; echo scan > /sys/kernel/debug/kmemleak", timeout=300)
            # SLUB itself forgets the name of a cache if there is no memory for its entry in sysfs.
            leaks = "".join(leak for leak in n.run("cat /sys/kernel/debug/kmemleak", timeout=300).split("unreferenced object") if "sysfs_slab_add" not in leak)
            reports = n.reports()
            if reports or re.search(r"mirror_|cluster_|channel_|regions_|dm_raid1_ext|dm_log_cluster|dm_mpath", leaks):
                raise LabError(f"node {n.number}: the debug kernel reports: {reports[:10]} {leaks[:2000]}")
            say(f"node {n.number}: the debug kernel has nothing to report")

    def collect(self):
        for n in self.nodes:
            if not n.alive() or not n.ready.is_set():
                continue
            try:
                n.qmp("cont")
                for name, command in (("dmesg", "dmesg"), ("status.json", f"timeout 10 {BUILD}/bin/clogctl status --json"), ("dump", f"timeout 20 {BUILD}/bin/clogctl dump"),
                                      ("dm-table", "dmsetup table"), ("dm-status", "timeout 10 dmsetup status --noflush"), ("processes", "ps axfl"),
                                      ("in-flight", "grep . /sys/block/*/inflight"), ("blocked", "echo w > /proc/sysrq-trigger; dmesg | tail -n 300")):
                    with open(f"{n.folder}/{name}", "w") as f:
                        f.write(n.run(command, check=False, timeout=20)[1])
            except (LabError, OSError):
                pass

    def clean(self, failed):
        for sig in ENDING:  # a second signal must not keep the first from tidying up
            signal.signal(sig, signal.SIG_IGN)
        for n in self.nodes:
            n.end()
        subprocess.run(["ip", "netns", "del", self.netns], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.sockets, ignore_errors=True)
        if failed:
            for path in list(self.disks.values()) + [getattr(self, "ramfs", "")]:
                if path and os.path.exists(path):
                    os.unlink(path)
            for n in self.nodes:  # whoever sees only this output has no more
                for log in sorted(glob.glob(f"{n.folder}/clogd.*.log"), key=os.path.getmtime)[-1:]:
                    with open(log, errors="replace") as f:
                        print("".join(f"node {n.number}: {line}" for line in f.readlines()[-12:]), end="", file=sys.stderr)
            print(f"logs of every node: {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def story(function, **options):
    """Runs a scenario: `story(tell)` at the end of its file."""
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda number, _: sys.exit(128 + number))
    try:
        with Lab(**options) as lab:
            function(lab)
            if DEBUG_KERNEL:
                lab.check_reports()
        say(f"passed: {lab.name}, {time.time() - lab.begin:.0f} s")
    except LabError as e:
        print(f"FAILED: {e}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
