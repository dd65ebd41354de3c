"""Whether the rendered routes bring each path to the process that serves it: ROUTES.yaml, and the OpenAPI document of a cluster."""

import json
import re
import sys

import yaml

with open(sys.argv[1]) as rendered:
    objects = [one for one in yaml.safe_load_all(rendered) if one]
with open(sys.argv[2]) as document:
    paths = json.load(document)["paths"]

services = {one["metadata"]["name"]: one["spec"]["ports"] for one in objects if one["kind"] == "Service"}


def targets(kind, is_match):
    """The Services to which routes of a kind send what matches."""
    found = []
    for route in (one["spec"] for one in objects if one["kind"] == kind):
        assert route["parentRefs"] and len(route["rules"]) <= 16, route
        for rule in route["rules"]:
            assert len(rule["matches"]) <= 64, len(rule["matches"])  # the limit of the Gateway API
            for backend in rule["backendRefs"]:
                assert any(port["port"] == backend["port"] for port in services[backend["name"]]), backend
            if any(is_match(match) for match in rule["matches"]):
                found += [backend["name"] for backend in rule["backendRefs"]]
    return found


def matches_path(path):
    def is_match(match):
        kind, value = match["path"]["type"], match["path"]["value"]
        if kind == "RegularExpression":
            return re.fullmatch(value, path) is not None
        return kind == "PathPrefix" and (path == value or path.startswith(value + "/"))

    return is_match


n_operations = 0
for template, operations in paths.items():
    for value in ("a-1", "0f0a%3Ab.c"):
        path = re.sub(r"\{[^}]*\}", value, template)
        found = targets("HTTPRoute", matches_path(path))
        for operation in operations.values():
            process = operation.get("x-wardline-process") or "registry"  # what all have, one answers
            assert len(found) == 1 and found[0].endswith("-" + process), (path, process, found)
            n_operations += 1
rpcs = {
    match["method"]["service"]
    for one in objects
    if one["kind"] == "GRPCRoute"
    for rule in one["spec"]["rules"]
    for match in rule["matches"]
}
for rpc in rpcs:
    grpc = targets("GRPCRoute", lambda match: match["method"]["service"] == rpc)
    web = targets("HTTPRoute", matches_path(f"/{rpc}/Any"))
    assert len(grpc) == 1 and grpc == web, (rpc, grpc, web)
assert n_operations > 80 and len(rpcs) >= 7, (n_operations, rpcs)
print(f"{n_operations // 2} operations, {len(rpcs)} services of rpcs")
