"""What the guest agent does inside of a guest."""

WEB = "/nodes/pve1/qemu/101/agent"


def run(lab, *command):
    pid = lab.data("POST", f"{WEB}/exec", command=list(command))["pid"]
    assert lab.data("GET", f"{WEB}/exec-status", pid=str(pid)) == {"exited": 0}
    lab.wait(1)
    return lab.data("GET", f"{WEB}/exec-status", pid=str(pid))


def test_programs_run_inside(lab):
    assert run(lab, "hostname") == {"exited": 1, "exitcode": 0, "out-data": "web-1\n"}
    assert run(lab, "/bin/sh", "-c", "echo 'a  b'")["out-data"] == "a  b\n"
    assert run(lab, "rm", "-rf", "/") == {"exited": 1, "exitcode": 127, "err-data": "rm: command not found\n"}
    assert lab.ask("GET", f"{WEB}/exec-status", pid="1").status == 500


def test_files_are_written_and_read(lab):
    lab.data("POST", f"{WEB}/file-write", file="/etc/motd", content="hello there")
    assert lab.data("GET", f"{WEB}/file-read", file="/etc/motd") == {"content": "hello there", "bytes-read": 11}
    assert lab.data("GET", f"{WEB}/file-read", file="/etc/motd", count="5")["truncated"] == 1
    assert run(lab, "cat", "/etc/motd", "/etc/hostname")["out-data"] == "hello thereweb-1\n"
    lab.data("POST", f"{WEB}/file-write", file="/tmp/x", content="aGk=", encode="0")
    assert lab.data("GET", f"{WEB}/file-read", file="/tmp/x")["content"] == "hi"
    assert lab.ask("GET", f"{WEB}/file-read", file="/nope").reason.startswith("Agent error: failed to open file '/nope'")


def test_file_systems_freeze_and_thaw(lab):
    assert lab.data("POST", f"{WEB}/fsfreeze-status") == {"result": "thawed"}
    assert lab.data("POST", f"{WEB}/fsfreeze-freeze") == {"result": 1}
    assert lab.data("POST", WEB, command="fsfreeze-status") == {"result": "frozen"}
    assert lab.data("POST", f"{WEB}/fsfreeze-thaw") == {"result": 1}
    assert lab.data("POST", f"{WEB}/fstrim")["result"]["paths"][0]["path"] == "/"


def test_the_guest_shuts_itself_down(lab):
    assert lab.data("POST", f"{WEB}/shutdown") == {"result": {}}
    lab.wait(120)
    assert lab.data("GET", "/nodes/pve1/qemu/101/status/current")["status"] == "stopped"
    assert lab.ask("POST", f"{WEB}/ping").reason == "VM 101 is not running"


def test_what_it_can_do(lab):
    names = {row["name"] for row in lab.data("GET", f"{WEB}/info")["result"]["supported_commands"]}
    assert {"guest-exec", "guest-file-read", "guest-fsfreeze-freeze", "guest-osinfo"} <= names
    assert lab.data("POST", WEB, command="get-host-name") == {"result": {"host-name": "web-1"}}
    blocks, size = (lab.data("GET", f"{WEB}/{name}")["result"] for name in ("get-memory-blocks", "get-memory-block-info"))
    assert len(blocks) * size["size"] == lab.cluster.guests[101].maxmem
