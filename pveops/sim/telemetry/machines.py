"""The machines of a node: sensors in the names of the node exporter, disks in those of the script smartmon."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pveops.sim.physics import hardware
from pveops.sim.physics.hardware import Disk, Smart
from pveops.sim.physics.machine import CRITICAL_CELSIUS, Heat, heat, joules
from pveops.sim.physics.overlay import Floats
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.node import Node
from pveops.sim.telemetry.families import Family, Value, labels
from pveops.sim.telemetry.figures import Figures

_BOARD = "platform_nct6775_656"
_METER = "acpitz_power_meter_0"
_INLET = "thermal_thermal_zone0"


def families(cluster: Cluster, node: Node, found: Figures) -> Iterator[Family]:
    """All families of the machines of a node."""
    disks = hardware.disks(cluster.seed, node)
    moments = found.times.tolist()
    readings = [heat(cluster.seed, node, warm, moment) for warm, moment in zip(found.warm.tolist(), moments, strict=True)]
    smart = {disk: [hardware.counters(cluster.seed, node, disk, moment) for moment in moments] for disk in disks}
    yield from _sensors(node, readings, smart)
    yield from _power(node, found)
    yield from _smart(smart)


def _sensors(node: Node, readings: list[Heat], smart: dict[Disk, list[Smart]]) -> Iterator[Family]:
    temperatures: list[tuple[str, str, str, Floats]] = []
    for number in range(node.sockets):
        values = np.array([reading.packages[number] for reading in readings])
        temperatures.append((f"platform_coretemp_{number}", "coretemp", f"Package id {number}", values))
    temperatures.append((_INLET, "acpitz", "inlet", np.array([reading.inlet for reading in readings])))
    for disk, counters in smart.items():
        if disk.kind == "nvme":
            name = disk.path.removeprefix("/dev/")[:-2]
            temperatures.append((f"nvme_{name}", "nvme", "Composite", np.array([float(one.celsius) for one in counters])))
    fans = [(f"fan{number + 1}", np.array([reading.fans[number] for reading in readings])) for number in range(len(readings[0].fans))]
    chips = {chip: kind for chip, kind, _, _ in temperatures} | {_BOARD: "nct6775", _METER: "power_meter"}
    about = "Annotation metric for human-readable chip names"
    yield Family("node_hwmon_chip_names", "gauge", about, [(labels(chip=chip, chip_name=kind), 1) for chip, kind in chips.items()])
    named = [labels(chip=chip, label=label.lower().replace(" ", "_"), sensor="temp1") for chip, _, label, _ in temperatures]
    yield Family("node_hwmon_sensor_label", "gauge", "Label for given chip and sensor", [(one, 1) for one in named])
    heads = [(labels(chip=chip, sensor="temp1"), values) for chip, _, _, values in temperatures]
    yield Family("node_hwmon_temp_celsius", "gauge", "Hardware monitor for temperature (input)", heads)
    critical = [(labels(chip=f"platform_coretemp_{number}", sensor="temp1"), CRITICAL_CELSIUS) for number in range(node.sockets)]
    yield Family("node_hwmon_temp_crit_celsius", "gauge", "Hardware monitor for temperature (crit)", critical)
    about = "Hardware monitor for fan revolutions per minute (input)"
    yield Family("node_hwmon_fan_rpm", "gauge", about, [(labels(chip=_BOARD, sensor=name), values) for name, values in fans])
    watt = np.array([reading.watt for reading in readings])
    about = "Hardware monitor for power usage in watts (input)"
    yield Family("node_hwmon_power_watt", "gauge", about, [(labels(chip=_METER, sensor="power1"), watt)])


def _power(node: Node, found: Figures) -> Iterator[Family]:
    """Energy of the processor packages since the start, in equal parts."""
    ages = (found.times - found.boot_s).tolist()
    total = np.array([joules(node, busy_s, age_s) for busy_s, age_s in zip(found.busy_s.tolist(), ages, strict=True)])
    samples = [
        (labels(index=number, path=f"/sys/class/powercap/intel-rapl:{number}"), total / node.sockets) for number in range(node.sockets)
    ]
    yield Family("node_rapl_package_joules_total", "counter", "Current RAPL package value in joules", samples)


def _smart(smart: dict[Disk, list[Smart]]) -> Iterator[Family]:
    heads = {disk: labels(disk=disk.path, type="nvme" if disk.kind == "nvme" else "sat") for disk in smart}
    info = [(f"{heads[disk]},{labels(device_model=disk.model, serial_number=disk.serial)}", 1) for disk in smart]
    yield Family("smartmon_device_info", "gauge", "SMART metric device_info", info)
    for name in ("device_active", "device_smart_available", "device_smart_enabled"):
        yield Family(f"smartmon_{name}", "gauge", f"SMART metric {name}", [(head, 1) for head in heads.values()])
    healthy = [(heads[disk], np.array([float(one.healthy) for one in counters])) for disk, counters in smart.items()]
    yield Family("smartmon_device_smart_healthy", "gauge", "SMART metric device_smart_healthy", healthy)
    columns: dict[str, list[tuple[str, Value]]] = {}
    for disk, counters in smart.items():
        if disk.kind == "nvme":
            continue
        tables = [hardware.attributes(one) for one in counters]
        for row, (number, name, *_) in enumerate(tables[0]):
            head = f'{heads[disk]},smart_id="{number}"'
            for field, suffix in ((2, "value"), (3, "threshold"), (4, "raw_value")):
                values = np.array([float(table[row][field]) for table in tables])
                columns.setdefault(f"{name.lower()}_{suffix}", []).append((head, values))
    for name, samples in columns.items():
        yield Family(f"smartmon_{name}", "gauge", f"SMART metric {name}", samples)
