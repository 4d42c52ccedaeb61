"""Debian's packages, fetched and unpacked without root and without touching what is installed here.

apt works in a root of its own: it checks the archive's signatures, knows today's versions, and what a machine says of
its proxy still counts. Only its lists, its state and its sources are private.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.phones import cache

MIRROR = "http://deb.debian.org/debian"
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
#: adb's device side is in the backports, and in trixie for whom those are closed.
SUITES = ("bookworm", "bookworm-backports")

#: The C and C++ libraries that a program from another ARM machine is linked to. LiteRT's asks for those of Debian 12.
ARM = ("libc6:arm64", "libgcc-s1:arm64", "libstdc++6:arm64")
#: Android's own shell and tools, and its adbd with all that this one loads.
BACKPORTED = ("adbd", "android-libbase", "android-libboringssl", "android-libcutils", "android-liblog")
PHONE = (
    *("mksh:arm64", "toybox:arm64", "libcrypt1:arm64", "patchelf", *BACKPORTED),
    *(
        "libc6",
        "libgcc-s1",
        "libstdc++6",
        "zlib1g",
        "libbrotli1",
        "liblz4-1",
        "libzstd1",
        "libbsd0",
        "libmd0",
        "libcap2",
    ),
    *("libprotobuf32", "libsystemd0", "libgcrypt20", "libgpg-error0", "liblzma5"),
)


def unpacked(name: str, packages: tuple[str, ...]) -> Path:
    """A folder with the files of packages.

    Args:
        name: of the folder in the cache.
        packages: their names; ":arm64" for those of another architecture.

    Returns:
        The folder: "amd64" and "arm64" in it are roots.

    Raises:
        cache.UnavailableError: where there is no apt, or no network.
    """
    return cache.made(name, f"{MIRROR} {SUITES} {packages}", lambda folder: _unpack(packages, folder))


def _unpack(packages: tuple[str, ...], folder: Path) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise cache.UnavailableError(f"packages come from Debian, and this machine has no {tool}")
    with tempfile.TemporaryDirectory() as root:
        environment = {"APT_CONFIG": str(_configuration(Path(root))), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        environment |= {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        downloads = Path(root) / "downloads"
        downloads.mkdir()
        chosen = [f"{each}/{SUITES[-1]}" if each in BACKPORTED else each for each in packages]
        for command in (["update"], ["download", *chosen]):
            done = subprocess.run(
                ["apt-get", "-qq", *command], cwd=downloads, env=environment, capture_output=True, text=True
            )
            if done.returncode:
                last = [line for line in done.stderr.splitlines() if line.startswith("E:")] or [done.stderr.strip()]
                raise cache.UnavailableError(f"packages could not be fetched from {MIRROR}: {last[0]}")
        for package in sorted(downloads.glob("*.deb")):
            architecture = "arm64" if package.stem.endswith("_arm64") else "amd64"
            subprocess.run(["dpkg-deb", "-x", package, folder / architecture], check=True)


def _configuration(root: Path) -> Path:
    for each in ("lists/partial", "cache/archives/partial"):
        (root / each).mkdir(parents=True)
    (root / "status").touch()
    (root / "sources.list").write_text("".join(f"deb [signed-by={KEYS}] {MIRROR} {suite} main\n" for suite in SUITES))
    settings = {
        "Dir::Etc::sourcelist": root / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": root / "lists",
        "Dir::State::status": root / "status",
        "Dir::Cache": root / "cache",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",  # else a mirror that nobody reaches is a warning
        "Acquire::Languages": "none",
        "Acquire::Retries": 2,
        "Acquire::http::Timeout": 20,
    }
    lines = [f'{name} "{value}";\n' for name, value in settings.items()]
    lines.append('APT::Architectures { "amd64"; "arm64"; };\n')
    path = root / "apt.conf"
    path.write_text("".join(lines))
    return path
