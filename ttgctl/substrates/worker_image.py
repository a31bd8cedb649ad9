"""The worker's image: built from this program's own sources, named by their content."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

import docker
import platformdirs
from docker.errors import BuildError, ImageNotFound

import ttg_worker
import ttgctl
from ttgctl.core.ports import MissingRequirement, Say, SubstrateError
from ttgctl.substrates.docker_engine import translated

REPOSITORY: Final = "ttgctl-worker"
PYTHON: Final = "3.13"
ARCHITECTURES: Final = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
GLIBCS: Final = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


def recipe_folder() -> Path:
    """Where the Dockerfile and the lock are: inside the package once installed, else in the working tree."""
    package = Path(ttgctl.__file__).parent
    shipped = package / "shipped" / "workers"
    return shipped if shipped.is_dir() else package.parent / "workers"


def image_files() -> dict[str, bytes]:
    """All that decides what is in the image, by its path in the build context."""
    recipe = recipe_folder()
    files = {name: (recipe / name).read_bytes() for name in ("Dockerfile", "requirements.lock")}
    sources = Path(ttg_worker.__file__).parent
    for path in sorted(sources.rglob("*.py")):
        files[f"ttg_worker/{path.relative_to(sources).as_posix()}"] = path.read_bytes()
    return files


def image_name(files: dict[str, bytes]) -> str:
    """``ttgctl-worker:HASH``; the same content has the same name on every machine."""
    content = hashlib.sha256()
    for name in sorted(files):
        content.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return f"{REPOSITORY}:{content.hexdigest()[:16]}"


def ensure_image(engine: docker.DockerClient, say: Say) -> str:
    """The name of the worker's image, which the engine has from now on; builds it if it has not."""
    files = image_files()
    name = image_name(files)
    with translated("the Docker engine can't say which images it has"):
        try:
            engine.images.get(name)
            return name
        except ImageNotFound:
            architecture = str(engine.info()["Architecture"])
    say(f"building the worker image {name}")
    wheels = _wheels(files["requirements.lock"], architecture)
    context = _context({**files, **{f"wheels/{path.name}": path.read_bytes() for path in wheels}})
    try:
        with translated("the worker image can't be built"):
            # No network: everything is in the context, and a build that reaches out is a mistake.
            engine.images.build(
                fileobj=context, custom_context=True, tag=name, rm=True, forcerm=True, network_mode="none"
            )
    except SubstrateError as error:
        if isinstance(error.__cause__, BuildError):
            lines = [str(entry.get("stream", "")).strip() for entry in error.__cause__.build_log]
            last = " | ".join([line for line in lines if line][-3:])
            raise SubstrateError(f"{error}; the build's last words: {last}") from error
        raise
    return name


def _wheels(lock: bytes, architecture: str) -> list[Path]:
    """The locked wheels for the worker's Python, from the user's cache or else from pip's index."""
    if architecture not in ARCHITECTURES:
        raise SubstrateError(
            f"no worker image for nodes of architecture {architecture}; build one and name it with --image"
        )
    machine = ARCHITECTURES[architecture]
    cache = platformdirs.user_cache_path("ttgctl") / "wheels"
    folder = cache / f"{hashlib.sha256(lock).hexdigest()[:16]}-{machine}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=cache, prefix="part-"))
        try:
            (part / "requirements.lock").write_bytes(lock)
            _download(part, machine)
            # Whole or not at all; if another process was faster, its folder holds the same.
            if not folder.is_dir():
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return sorted(folder.glob("*.whl"))


def _download(folder: Path, machine: str) -> None:
    platforms = [f"--platform={glibc}_{machine}" for glibc in GLIBCS]
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    argv += ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp", *platforms]
    argv += [f"--dest={folder}", f"--requirement={folder / 'requirements.lock'}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise MissingRequirement(
            f"the worker image needs pip, which {sys.executable} has not; "
            f"run: {sys.executable} -m ensurepip, or name an image with --image"
        )
    last = (done.stderr.strip() or "no message").splitlines()[-1]
    raise SubstrateError(f"pip could not download the worker's wheels: {last}")


def _context(files: dict[str, bytes]) -> io.BytesIO:
    """A tar of the files without times or owners, so that the engine's build cache can hit."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(files[name]), 0o644
            tar.addfile(entry, io.BytesIO(files[name]))
    buffer.seek(0)
    return buffer
