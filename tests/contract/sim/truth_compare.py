"""Compares an answer with a recorded one: status, reason, and the body by keys and types, or word by word where it is a refusal."""

import json
import re

_VOLATILE = re.compile(
    r"digest|upid|pid|pstart|starttime|endtime|time|localtime|uptime|ctime|snaptime|cpu|mem|memhost|disk|maxdisk|size|used|uid|id"
    r"|netin|netout|diskread|diskwrite|smbios1|vmgenid|meta|avail|total|free|used_fraction|n|t|value|data|timestamp"
)


def kind(value):
    """The type of a value; a text that is a number counts as one: the real API mixes both."""
    if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return "number"
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def shape_fault(ours, theirs, at=""):
    """What differs in keys and types; empty when nothing does. A null says nothing; each of their rows must have its like in ours."""
    if ours is None or theirs is None:
        return "" if ours is theirs or at else f"{ours!r:.80} for {theirs!r:.80}"
    if isinstance(ours, dict) and isinstance(theirs, dict):
        odd = [f"+{key}" for key in ours.keys() - theirs.keys()] + [f"-{key}" for key in theirs.keys() - ours.keys()]
        if odd:
            return f"keys {' '.join(sorted(odd))} at {at or '/'}"
        return next((fault for key in theirs if (fault := shape_fault(ours[key], theirs[key], f"{at}/{key}"))), "")
    if isinstance(ours, list) and isinstance(theirs, list):
        return _rows_fault(ours, theirs, at)
    return "" if kind(ours) == kind(theirs) else f"{kind(ours)} {ours!r:.60} for {kind(theirs)} {theirs!r:.60} at {at or '/'}"


def _rows_fault(ours, theirs, at):
    if bool(ours) != bool(theirs):
        return f"{len(ours)} rows for {len(theirs)} at {at or '/'}"
    for number, row in enumerate(theirs):
        faults = [shape_fault(own, row, f"{at}[{number}]") for own in ours]
        if all(faults):
            return min(faults, key=len)
    return ""


def same_task(ours, theirs):
    """Task ids agree in type, object and user."""
    return ours.split(":")[5:] == theirs.split(":")[5:]


def _refusal_text(text):
    return text.strip() if isinstance(text, str) else text


def body_fault(answer, row):
    """What differs between the body of an answer and the recorded one."""
    theirs = row["body"]
    if not isinstance(theirs, dict):
        return "" if answer.text.strip() == _refusal_text(theirs or "") else f"body {answer.text!r:.100} for {theirs!r:.100}"
    try:
        ours = answer.json()
    except ValueError:
        return f"no JSON: {answer.text!r:.100}"
    if row["status"] != 200:
        mine, its = ({**one, "message": _refusal_text(one.get("message"))} for one in (ours, theirs))
        return "" if mine == its else _differing(mine, its)
    data, wanted = ours.get("data"), theirs.get("data")
    if isinstance(wanted, str) and wanted.startswith("UPID:"):
        return "" if isinstance(data, str) and data.startswith("UPID:") and same_task(data, wanted) else f"{data!r:.90} for {wanted}"
    return shape_fault(ours, theirs)


def _differing(ours, theirs):
    for key in theirs.keys() | ours.keys():
        if ours.get(key) != theirs.get(key):
            return f"{key}: {json.dumps(ours.get(key))[:300]} for {json.dumps(theirs.get(key))[:300]}"
    return ""


def fault(answer, row):
    """Why an answer does not agree with its row; empty when it does."""
    if (answer.status_code, answer.reason) != (row["status"], row["reason"]):
        if _both_broken_json(answer, row):
            return ""
        return f"{answer.status_code} {answer.reason}, not {row['status']} {row['reason']}"
    return body_fault(answer, row)


def _both_broken_json(answer, row):
    """A parser names its own source line: that both refuse is all there is to agree about."""
    return row["status"] == answer.status_code == 500 and " at /usr/share/perl5/PVE/APIServer" in row["reason"] and bool(answer.reason)


def value_fault(answer, row):
    """What differs in values that do not change from run to run; looked at beside the agreement, as a hint."""
    if row["status"] != 200 or answer.status_code != 200 or not isinstance(row["body"], dict) or row.get("trunc"):
        return ""
    try:
        return _value_fault(answer.json().get("data"), row["body"].get("data"), "")
    except ValueError:
        return ""


def _value_fault(ours, theirs, at):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in theirs.keys() & ours.keys():
            found = (
                ""
                if _VOLATILE.fullmatch(key) and not isinstance(theirs[key], (dict, list))
                else _value_fault(ours[key], theirs[key], f"{at}/{key}")
            )
            if found:
                return found
        return ""
    if isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            return f"{len(ours)} rows for {len(theirs)} at {at or '/'}"
        return ""
    if isinstance(theirs, str) and theirs.startswith("UPID:"):
        return ""
    return "" if str(ours) == str(theirs) else f"{ours!r:.80} for {theirs!r:.80} at {at or '/'}"
