"""What a phone needs to run LiteRT beside the runner itself: a C library of its own, and LiteRT's library.

Android's C library is not the one that PyPI's wheels are built for, so the phone gets Debian 12's, the oldest one that
LiteRT runs on, with its loader. They are free software under licences (LGPL, GPL with the runtime exception) that this
package does not ship beside its own, so they are downloaded once, from Debian and PyPI, and checked against the hashes
below.
"""

from collections.abc import Mapping
from pathlib import Path

from keras_effvit.device.downloads import Member, Package, Progress, cache_folder, unpacked
from keras_effvit.device.machine import litert_version


def _deb(path: str, sha1: str, size: int, sha256: str, members: Mapping[str, Member]) -> Package:
    # A mirror drops a version when a newer one comes; the others keep it for good, snapshot.debian.org by its SHA-1.
    elsewhere = (f"http://archive.debian.org/debian/{path}", f"https://snapshot.debian.org/file/{sha1}")
    return Package((f"{{debian}}/{path}", *elsewhere), size, sha256, members)


_LIB = "./lib/aarch64-linux-gnu"
_C_LIBRARIES = (
    _deb(
        "pool/main/g/glibc/libc6_2.36-9+deb12u14_arm64.deb",
        "85af57bf1f9fa075163e51c99d9536154c21ab7e",
        2324660,
        "01f4330719fd4f65580e16ea5a0527f372fca750e8f588d26deaf09f2d3b1cf4",
        {
            "ld-linux-aarch64.so.1": Member(
                f"{_LIB}/ld-linux-aarch64.so.1",
                202912,
                "17538b8f9889a470c061f69a8fea8124da89627311cd16546c133a89f09056df",
            ),
            "libc.so.6": Member(
                f"{_LIB}/libc.so.6", 1651408, "e4ac8ae1d81e4865e3aadedb962879cf9415903b3f2ba81ec75e9962b86ab8b0"
            ),
            "libm.so.6": Member(
                f"{_LIB}/libm.so.6", 591960, "3c4cb3be0b974edf05f023f85ab15107fb5afc2687163593d0d4cf8e80c17b39"
            ),
        },
    ),
    _deb(
        "pool/main/g/gcc-12/libgcc-s1_12.2.0-14+deb12u1_arm64.deb",
        "6534755fbb89e7bd0ef86c53fce6f34b4f7bfbd4",
        34816,
        "576926b283613db80168ddf76380a3bd877602778cf0d226caa7bfbfa71eacf3",
        {
            "libgcc_s.so.1": Member(
                f"{_LIB}/libgcc_s.so.1", 133448, "046856f95f4636f1fc7c3a12bf4f3cd5634c2fc5145c3fdf7395d4f349fa69c7"
            )
        },
    ),
    _deb(
        "pool/main/g/gcc-12/libstdc++6_12.2.0-14+deb12u1_arm64.deb",
        "d0ab5371c1259b637436b4e61381e47385386650",
        556608,
        "26e138c677a985775331373828a6c286c551ff397cb735d00e2383cb273d1cb2",
        {
            "libstdc++.so.6": Member(
                "./usr/lib/aarch64-linux-gnu/libstdc++.so.6.0.30",
                2174296,
                "532f3a12d7b8fef6cc7a064ea106b6c4ab2365674b73e743e4a385d4ffb6c8ab",
            )
        },
    ),
)
#: By the version of ai-edge-litert, the oldest first. The library is the same in the wheels of all Python versions.
_LITERT = {
    "2.3.0": Package(
        (
            "https://files.pythonhosted.org/packages/33/68/446c2685f5752eef7891dc8a43ca27bd393461ea0caac7c413587c2f4535/"
            "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl",
        ),
        14379387,
        "853fc608f96da87bd5f3458465dfb9abbf18d5ae6b94eceacead407146f175ae",
        {
            "libLiteRt.so": Member(
                "ai_edge_litert/libLiteRt.so",
                5991672,
                "b57687dc234d2b8b0598aef5a9c961ed24263df8f8b3f56adbee1cff618e544b",
            )
        },
    ),
}


def phone_litert_version() -> str:
    """Of LiteRT on the phone: the installed one if its hashes are known here, or the newest of which they are."""
    installed = litert_version()
    return installed if installed in _LITERT else list(_LITERT)[-1]


def assets(cache: str | Path | None = None, *, progress: Progress | None = None) -> Path:
    """A folder with the loader, the C libraries and LiteRT's library for phones, downloaded if it is not there yet.

    Args:
        cache: a folder to keep things in; `$KERAS_EFFVIT_CACHE` or `~/.cache/keras_effvit` when `None`.
        progress: is told what comes.

    Returns:
        The folder.

    Raises:
        AssetsMissing: if something cannot be downloaded; the message says what to fetch by hand, and whereto.

    Example:
        >>> sorted(path.name for path in assets().iterdir())
        ['ld-linux-aarch64.so.1', 'libLiteRt.so', 'libc.so.6', 'libgcc_s.so.1', 'libm.so.6', 'libstdc++.so.6']
    """
    packages = (*_C_LIBRARIES, _LITERT[phone_litert_version()])
    return unpacked(packages, cache_folder(cache), progress)
