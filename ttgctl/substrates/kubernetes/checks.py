"""Checks of a cluster that is there already, before a run, each with the fix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ttgctl.core.ports import Check, SubstrateError
from ttgctl.substrates.checks import fail, ok
from ttgctl.substrates.kubernetes.api import KubeApi


def context_checks(
    connect: Callable[[], KubeApi], *, context: str | None, namespace: str, backend: str | None = None
) -> list[Check]:
    """What a run in a namespace of a cluster that is there already needs."""
    name = context or "(current)"
    try:
        api = connect()
    except SubstrateError as error:
        return [fail("kubeconfig", str(error), "see: kubectl config get-contexts")]
    try:
        version = api.request("get", "/version")
        refused = _refused(api, namespace, _RIGHTS if backend != "static" else (*_RIGHTS, *_TALK_TO_PODS))
    except SubstrateError as error:
        return [fail("cluster", str(error), f"see: kubectl --context {name} version")]
    finally:
        api.close()
    found = [ok("kubeconfig", f"context {name}"), ok("cluster", f"Kubernetes {version['gitVersion']}")]
    if refused:
        fix = f"ask for these rights in namespace {namespace}, or choose another with --namespace"
        return [*found, fail("permissions", f"this user may not {', '.join(refused)}", fix)]
    return [*found, ok("permissions", f"all that is needed in namespace {namespace}")]


# What is applied is created by a patch, for which both rights are asked.
_RIGHTS: Final = (
    *(
        (verb, group, resource)
        for verb in ("create", "patch", "list", "delete")
        for group, resource in (
            ("apps", "deployments"),
            ("apps", "statefulsets"),
            ("batch", "jobs"),
            ("", "services"),
            ("", "configmaps"),
            ("", "secrets"),
            ("networking.k8s.io", "networkpolicies"),
        )
    ),
    ("list", "", "pods"),
    ("delete", "", "pods"),
    ("list", "", "persistentvolumeclaims"),
    ("delete", "", "persistentvolumeclaims"),
)
# Which of the two verbs is asked for depends on the version of Kubernetes.
_TALK_TO_PODS: Final = (("create", "", "pods/exec"), ("get", "", "pods/exec"))


def _refused(api: KubeApi, namespace: str, rights: Sequence[tuple[str, str, str]]) -> list[str]:
    def may(right: tuple[str, str, str]) -> bool:
        verb, group, name = right
        resource, _, subresource = name.partition("/")
        return api.may(verb, resource, namespace=namespace, group=group, subresource=subresource)

    with ThreadPoolExecutor(8) as pool:
        return [
            f"{verb} {resource}"
            for (verb, _, resource), allowed in zip(rights, pool.map(may, rights), strict=True)
            if not allowed
        ]
