"""The kernel's steps: what decides them, and the parts that need no compiler."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from orlop.image import kernel, kernel_modules, kernel_steps
from orlop.lib.errors import InvalidArgument

CHECKOUT = Path(__file__).parents[3]


def test_steps_take_settings_so_that_comments_compile_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORLOP_MODULE_KEY", raising=False)
    directory = tmp_path / "os/kernel"
    directory.mkdir(parents=True)
    (tmp_path / "os/hardening.toml").write_text("")
    for folder in ("lock", "extras"):
        shutil.copytree(CHECKOUT / "os" / folder, tmp_path / "os" / folder)
    for fragment in (CHECKOUT / "os/kernel").glob("*.config"):
        (directory / fragment.name).write_text(fragment.read_text())

    before = {step.name: step.inputs.values for step in kernel_steps.steps(tmp_path)}
    base = directory / "base.config"
    base.write_text(base.read_text() + "# a remark\n")
    after = {step.name: step.inputs.values for step in kernel_steps.steps(tmp_path)}
    base.write_text(base.read_text().replace("CONFIG_HZ_250=y", "CONFIG_HZ_100=y"))
    changed = {step.name: step.inputs.values for step in kernel_steps.steps(tmp_path)}

    assert before == after
    assert changed["kernel-config"] != before["kernel-config"]
    assert changed["kernel"] != before["kernel"]


def test_kind_of_module_key_is_an_input(monkeypatch: pytest.MonkeyPatch) -> None:
    derived = {step.name: step.inputs for step in kernel_steps.steps(CHECKOUT)}
    monkeypatch.setenv("ORLOP_MODULE_KEY", "random")
    random = {step.name: step.inputs for step in kernel_steps.steps(CHECKOUT)}
    assert derived["kernel"] != random["kernel"]
    assert derived["kernel-config"] == random["kernel-config"]


def test_unknown_kind_of_module_key_is_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ORLOP_MODULE_KEY", "mine")
    with pytest.raises(InvalidArgument, match="derived or random"):
        kernel_steps.steps(CHECKOUT)


def test_digest_depends_on_source_configuration_and_date(tmp_path: Path) -> None:
    package = tmp_path / "linux-source-6.12_1_all.deb"
    package.write_bytes(b"source")
    first = kernel.input_digest(tmp_path, "CONFIG_A=y\n", 1)
    assert kernel.input_digest(tmp_path, "CONFIG_A=y\n", 1) == first
    assert kernel.input_digest(tmp_path, "CONFIG_A=m\n", 1) != first
    assert kernel.input_digest(tmp_path, "CONFIG_A=y\n", 2) != first
    package.write_bytes(b"other source")
    assert kernel.input_digest(tmp_path, "CONFIG_A=y\n", 1) != first


def test_seeds_stay_for_a_series(tmp_path: Path) -> None:
    digests = []
    for name in ("linux-source-6.12_6.12.1-1", "linux-source-6.12_6.12.2-1", "linux-source-6.18_1"):
        package = tmp_path / f"{name}_all.deb"
        package.write_bytes(name.encode())
        digests.append(kernel.series_digest(tmp_path))
        package.unlink()
    assert digests[0] == digests[1] != digests[2]


def test_seed_script_writes_what_the_kernels_build_expects(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    kernel.write_randstruct_seed(tmp_path, b"digest")
    script = tmp_path / "scripts/gen-randstruct-seed.sh"
    subprocess.run(["sh", script, tmp_path / "seed", tmp_path / "hash.h"], check=True)
    seed = (tmp_path / "seed").read_text().strip()
    assert len(bytes.fromhex(seed)) == 32
    hashed = hashlib.sha256(seed.encode()).hexdigest()
    assert (tmp_path / "hash.h").read_text() == f'#define RANDSTRUCT_HASHED_SEED "{hashed}"\n'


def installed_modules(root: Path) -> Path:
    installed = root / "installed"
    (installed / "kernel/fs").mkdir(parents=True)
    (installed / "kernel/fs/xfs.ko").write_bytes(b"module")
    (installed / "modules.dep").write_text("kernel/fs/xfs.ko:\n")
    (installed / "modules.alias").write_text("alias fs-xfs xfs\n")
    (installed / "modules.softdep").write_text("")
    (installed / "modules.order").write_text("kernel/fs/xfs.ko\n")
    return installed


def test_image_gets_modules_and_index_only(tmp_path: Path) -> None:
    target = tmp_path / "usr/lib/modules/6.12"
    kernel_modules.copy_modules(installed_modules(tmp_path), target, tmp_path / "extras", ())
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {"kernel/fs/xfs.ko", "modules.index"}


def test_module_that_depmod_does_not_know_is_an_error(tmp_path: Path) -> None:
    installed = installed_modules(tmp_path)
    (installed / "kernel/fs/lost.ko").write_bytes(b"module")
    with pytest.raises(InvalidArgument, match=r"kernel/fs/lost\.ko"):
        kernel_modules.copy_modules(installed, tmp_path / "target", tmp_path / "extras", ())


def test_modules_that_are_extras_are_found_where_the_extras_are(tmp_path: Path) -> None:
    installed = installed_modules(tmp_path)
    for name in ("own", "library"):
        (installed / f"kernel/fs/{name}.ko").write_bytes(name.encode())
    (installed / "modules.dep").write_text(
        "kernel/fs/xfs.ko: kernel/fs/library.ko\nkernel/fs/library.ko:\nkernel/fs/own.ko:\n"
    )
    target, beside = tmp_path / "target", tmp_path / "extras"
    kernel_modules.copy_modules(installed, target, beside, ("xfs",))
    assert {path.name for path in beside.rglob("*.ko")} == {"xfs.ko", "library.ko"}
    assert {path.name for path in (target / "kernel").rglob("*.ko")} == {"own.ko"}
    index = (target / "modules.index").read_text()
    assert "xfs extras/kernel/fs/xfs.ko 0\n" in index
    assert "own kernel/fs/own.ko\n" in index
    assert (target / "extras").readlink() == Path("/run/orlop/extras/extras")
    with pytest.raises(InvalidArgument, match="no module zfs"):
        kernel_modules.copy_modules(installed, target, beside, ("zfs",))
    with pytest.raises(InvalidArgument, match="xfs needs library"):
        kernel_modules.copy_modules(installed, target, beside, ("library",))
