"""Models of processors that somebody defined, and the flags that processors have."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import split_list
from pveops.sim.state.sections import Options, Row

api = Table()

_MODEL = Options("cputype reported-model", "flags hidden hv-vendor-id phys-bits guest-phys-bits level")
_SEE = ("Mapping.Modify", "Mapping.Use", "Mapping.Audit")
_INTEL = (
    "486 Broadwell Broadwell-IBRS Broadwell-noTSX Broadwell-noTSX-IBRS Cascadelake-Server Cascadelake-Server-noTSX Cascadelake-Server-v2 "
    "Cascadelake-Server-v4 Cascadelake-Server-v5 ClearwaterForest Conroe Cooperlake Cooperlake-v2 GraniteRapids GraniteRapids-v2 Haswell "
    "Haswell-IBRS Haswell-noTSX Haswell-noTSX-IBRS Icelake-Client Icelake-Client-noTSX Icelake-Server Icelake-Server-noTSX Icelake-Server-v3 "
    "Icelake-Server-v4 Icelake-Server-v5 Icelake-Server-v6 IvyBridge IvyBridge-IBRS KnightsMill Nehalem Nehalem-IBRS Penryn SandyBridge "
    "SandyBridge-IBRS SapphireRapids SapphireRapids-v2 SierraForest Skylake-Client Skylake-Client-IBRS Skylake-Client-noTSX-IBRS "
    "Skylake-Client-v4 Skylake-Server Skylake-Server-IBRS Skylake-Server-noTSX-IBRS Skylake-Server-v4 Skylake-Server-v5 Westmere "
    "Westmere-IBRS core2duo coreduo pentium pentium2 pentium3"
)
_AMD = (
    "EPYC EPYC-Genoa EPYC-IBPB EPYC-Milan EPYC-Milan-v2 EPYC-Rome EPYC-Rome-v2 EPYC-Rome-v3 EPYC-Rome-v4 EPYC-Turin EPYC-v3 EPYC-v4 "
    "Opteron_G1 Opteron_G2 Opteron_G3 Opteron_G4 Opteron_G5 athlon phenom"
)
_DEFAULT = "host kvm32 kvm64 max qemu32 qemu64 x86-64-v2 x86-64-v2-AES x86-64-v3 x86-64-v4"
_ARM = "a64fx cortex-a35 cortex-a53 cortex-a55 cortex-a57 cortex-a710 cortex-a72 cortex-a76 host max neoverse-n1 neoverse-n2 neoverse-v1"
_FLAGS = {
    "nested-virt": "Virtual machines inside of virtual machines (svm or vmx).",
    "aes": "AES in hardware.",
    "amd-no-ssb": "The host is not open to speculative store bypass (AMD).",
    "amd-ssbd": "Better protection against speculative store bypass (AMD).",
    "hv-evmcs": "Faster nesting for Windows guests (Intel).",
    "hv-tlbflush": "Faster memory for crowded Windows guests.",
    "ibpb": "Protection against Spectre (AMD).",
    "md-clear": "Tells guests how to protect themselves against MDS (Intel).",
    "pcid": "Less work for the protection against Meltdown.",
    "pdpe1gb": "Memory pages of 1 GB, where the host has them.",
    "spec-ctrl": "Protection against Spectre (Intel).",
    "ssbd": "Protection against speculative store bypass (Intel).",
    "virt-ssbd": "Protection against speculative store bypass (AMD).",
}


def _name(call: Call) -> str:
    return str(call.p["cputype"]).removeprefix("custom-")


def _may_see(call: Call, name: str) -> bool:
    return call.may_any(f"/mapping/cpu/{name}", *_SEE)


@api.reads("GET /cluster/qemu/custom-cpu-models")
def models(call: Call) -> list[dict[str, Any]]:
    """The models that the caller may see."""
    sections = call.cluster.configs.cpu_models
    return [{**row, "digest": sections.digest} for name, row in sorted(sections.rows.items()) if _may_see(call, name)]


@api.reads("GET /cluster/qemu/custom-cpu-models/{cputype}")
def model(call: Call) -> dict[str, Any]:
    """One model."""
    sections, name = call.cluster.configs.cpu_models, _name(call)
    row = sections.get(name)
    if row is None:
        raise failed(f"Custom cputype '{name}' not found")
    return {**row, "digest": sections.digest}


def _given(call: Call) -> Row:
    given = {key: value for key, value in call.p.items() if key not in ("digest", "delete")}
    return given | {"cputype": f"custom-{_name(call)}"}


@api.behaves("POST /cluster/qemu/custom-cpu-models")
def create(call: Call) -> None:
    """A new model."""
    sections, name, given = call.cluster.configs.cpu_models, _name(call), _given(call)
    _MODEL.check(given, create=True)
    if name in sections:
        raise failed(f"custom CPU model '{name}' already exists")
    sections.rows[name] = given


@api.behaves("PUT /cluster/qemu/custom-cpu-models/{cputype}")
def update(call: Call) -> None:
    """Change a model."""
    sections, name, given = call.cluster.configs.cpu_models, _name(call), _given(call)
    gone = split_list(call.p.get("delete", ""))
    for key in ("cputype", "reported-model"):
        if key in gone:
            raise failed(f"cannot delete '{key}'")
    sections.check_digest(call.p.get("digest"))
    _MODEL.check(given, create=False)
    row = sections.get(name)
    if row is None:
        raise failed(f"custom CPU model '{name}' does not exist")
    changed = dict(row)
    _MODEL.delete(changed, given, gone)
    sections.rows[name] = changed | given


@api.behaves("DELETE /cluster/qemu/custom-cpu-models/{cputype}")
def delete(call: Call) -> None:
    """Remove a model; machines that use it will not start."""
    sections, name = call.cluster.configs.cpu_models, _name(call)
    if name not in sections:
        raise failed(f"custom CPU model '{name}' does not exist")
    del sections.rows[name]


@api.reads("GET /nodes/{node}/capabilities/qemu/cpu")
def processors(call: Call) -> list[dict[str, Any]]:
    """The models that virtual machines can have."""
    if call.p.get("arch") == "aarch64":
        return [{"name": name, "vendor": "ARM", "custom": 0} for name in _ARM.split()]
    known = ((_INTEL, "GenuineIntel"), (_AMD, "AuthenticAMD"), (_DEFAULT, "default"))
    found = [{"name": name, "vendor": vendor, "custom": 0} for names, vendor in known for name in names.split()]
    for name, row in call.cluster.configs.cpu_models.rows.items():
        if _may_see(call, name):
            vendor = next((one["vendor"] for one in found if one["name"] == row["reported-model"]), "default")
            found.append({"name": f"custom-{name}", "vendor": vendor, "custom": 1})
    return found


@api.reads("GET /nodes/{node}/capabilities/qemu/cpu-flags", "GET /cluster/qemu/cpu-flags")
def flags(call: Call) -> list[dict[str, Any]]:
    """Flags that can be set, and the nodes whose processors have them."""
    nodes = list(call.cluster.nodes)
    return [{"name": name, "description": about, "supported-on": [] if name.startswith("hv-") else nodes} for name, about in _FLAGS.items()]


@api.reads("GET /nodes/{node}/capabilities/qemu/machines")
def machines(call: Call) -> list[dict[str, str]]:
    """The machine types, newest first."""
    found = []
    for version in ("10.1", "10.0+pve1", "10.0", "9.2+pve1", "9.2", "9.1", "9.0", "8.2", "8.1", "8.0", "7.2", "6.2"):
        found += [{"id": f"pc-{kind}-{version}", "type": kind, "version": version} for kind in ("i440fx", "q35")]
    return found


@api.reads("GET /nodes/{node}/capabilities/qemu/migration")
def migration(call: Call) -> dict[str, int]:
    """What migrations can do."""
    return {"has-dbus-vmstate": 1}
