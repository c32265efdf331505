"""Values for parameters of the API, from its schema: what fits, and what does not."""

import re

from hypothesis import strategies as st

KNOWN = {
    "node": ["pve1", "pve2"],
    "vmid": ["100", "101", "104", "105"],
    "newid": ["900", "104"],
    "storage": ["local", "local-lvm", "ceph-vm", "pbs-01"],
    "target": ["pve2", "pve3"],
    "pool": ["production"],
    "poolid": ["production", "p9"],
    "userid": ["operator@pve", "eve@pve"],
    "snapname": ["s1", "before-upgrade"],
    "disk": ["scsi0", "rootfs"],
    "volume": ["local:iso/debian-13.1.0-amd64-netinst.iso", "ceph-vm:vm-101-disk-0"],
    "path": ["/vms/101", "/storage/local"],
    "realm": ["pve", "pam"],
    "timeframe": ["hour", "day"],
    "iface": ["vmbr0"],
    "upid": ["UPID:pve1:00000001:00000001:6B000000:qmstart:101:root@pam:"],
    "service": ["pveproxy"],
    "digest": ["0" * 40],
    "tokenid": ["t1"],
    "size": ["+1G", "32G"],
    "size-arg": ["1G"],
}
"""Names that exist (or could) in the cluster of the tests: random text would only ever meet the first check."""

BY_FORMAT = {
    "pve-node": "pve1",
    "pve-vmid": "101",
    "pve-storage-id": "local",
    "pve-configid": "thing-1",
    "pve-userid": "eve@pve",
    "pve-tokenid": "eve@pve!t1",
    "pve-groupid": "admins",
    "pve-roleid": "PVEAuditor",
    "pve-realm": "pve",
    "pve-poolid": "production",
    "pve-volume-id": "ceph-vm:vm-101-disk-0",
    "pve-replication-job-id": "101-0",
    "pve-calendar-event": "daily",
    "pve-ha-resource-id": "vm:101",
    "pve-ha-resource-or-vm-id": "vm:101",
    "pve-ha-node": "pve1",
    "pve-bridge-id": "vmbr0",
    "pve-iface": "vmbr0",
    "pve-sdn-zone-id": "zone1",
    "pve-sdn-vnet-id": "vnet1",
    "pve-storage-content": "iso",
    "pve-storage-path": "/var/lib/vz",
    "pve-storage-server": "127.0.0.1",
    "pve-qm-boot": "order=scsi0",
    "pve-vm-cpu-conf": "host",
    "pve-priv": "VM.Audit",
    "pve-fw-addr-spec": "10.0.0.0/8",
    "pve-fw-dport-spec": "22",
    "pve-fw-sport-spec": "22",
    "address": "10.0.0.1",
    "dns-name": "guest-1.example",
    "email": "a@example.com",
    "ip": "10.0.0.1",
    "ipv4": "10.0.0.1",
    "ipv6": "fd00::1",
    "CIDR": "10.0.0.0/24",
    "CIDRv4": "10.0.0.1/24",
    "CIDRv6": "fd00::1/64",
    "IPorCIDR": "10.0.0.0/24",
    "IPorCIDRorAlias": "10.0.0.0/24",
    "mac-addr": "BC:24:11:00:00:99",
    "disk-size": "1G",
    "pve-tag": "a",
}


def fitting(name, spec):
    """One value that the check of a parameter lets pass, as far as its schema says."""
    kind = spec.get("type", "string")
    if spec.get("enum"):
        return str(spec["enum"][0])
    if kind == "boolean":
        return "1"
    if name in KNOWN:
        return KNOWN[name][0]
    if kind in ("integer", "number"):
        return str(spec.get("minimum", 1) if float(spec.get("minimum", 1)) > 0 else 1)
    if kind == "array":
        return [fitting("", spec.get("items", {}))]
    form = spec.get("format")
    if isinstance(form, dict):
        return ",".join(f"{key}={fitting('', one)}" for key, one in form.items() if not one.get("optional") and "alias" not in one) or "a=1"
    if form:
        return BY_FORMAT.get(form, BY_FORMAT.get(form.removesuffix("-list").removesuffix("-opt"), "thing-1"))
    if "pattern" in spec:
        return _by_pattern(spec["pattern"])
    return "thing-1"[: int(spec.get("maxLength", 40))]


def _by_pattern(pattern):
    """A text for the few patterns that required parameters have; a plain word where none is known."""
    candidates = ("thing-1", "1", "a", "abc", "0000:00:1f.0", "https://mirror.example/x.iso", "1-1", "U" + "PID", "AA:BB")
    plain = re.sub(r"\(\?\^([a-z]*):", "(?:", pattern)
    return next((text for text in candidates if re.fullmatch(plain, text)), "thing-1")


def required(method):
    """Fitting values for everything that a method wants, its path among it."""
    in_path = re.findall(r"\{([^}]+)\}", method.path)
    wanted = (name for name, spec in method.parameters.items() if name in in_path or not (spec.get("optional") or "[n]" in name))
    return {name: fitting(name, method.parameters[name]) for name in wanted}


_ODD = st.one_of(
    st.sampled_from(
        ["", " ", "0", "-1", "abc", "1bad", "yes", "true", "99999999999999999999", "a" * 5000, "../..", "x\0y", "ü", "=", ",", ";", "a=b,c"]
    ),
    st.text(max_size=30),
    st.integers(),
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def _values(name, spec):
    """Mostly values that fit, some that do not."""
    good = [fitting(name, spec), *KNOWN.get(name, []), *map(str, spec.get("enum") or ())]
    if spec.get("type") == "boolean":
        good += ["0"]
    kinds = [st.sampled_from(good)] * 3 + [_ODD]
    if spec.get("type") in ("integer", "number"):
        low, high = int(float(spec.get("minimum", -5))), int(float(spec.get("maximum", 10_000)))
        kinds.append(st.integers(low - 1, max(low, high) + 1).map(str))
    return st.one_of(*kinds)


@st.composite
def requests(draw, method):
    """The parameters of a request: those of the path as text, required ones mostly there, some optional ones, at times one too many."""
    found = {}
    in_path = set(re.findall(r"\{([^}]+)\}", method.path))
    for name, spec in method.parameters.items():
        if name in in_path:
            found[name] = draw(st.sampled_from([fitting(name, spec), *KNOWN.get(name, []), "nope1", "999", "a b"]))
        elif not spec.get("optional"):
            if draw(st.integers(0, 9)):
                found[name] = draw(_values(name, spec))
        elif draw(st.integers(0, 3)) == 0:
            found[name.replace("[n]", str(draw(st.integers(0, 3))))] = draw(_values(name, spec))
    if draw(st.integers(0, 19)) == 0:
        found[draw(st.sampled_from(["nosuch", "", "a b", "vmid", "delete"]))] = draw(_ODD)
    return found
