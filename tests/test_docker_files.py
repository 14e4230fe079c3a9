"""The container's files, checked without an engine: structure, names, mounts, and that each step's inputs exist."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from engine import __version__
from engine.context import running_in_container
from engine.dotenv import parse_dotenv
from engine.settings import load_roots

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
ENV_TEXT = (ROOT / ".env.example").read_text(encoding="utf-8")
CONTAINER_FOLDERS = {"/workspace/project", "/workspace/dinov3", "/opt/weights", "/opt/datasets", "/exports"}


class ComposeLoader(yaml.SafeLoader):
    """YAML with Compose's `!reset`, kept as the word it is."""


ComposeLoader.add_constructor("!reset", lambda loader, node: "!reset")


def service(name: str) -> dict[str, Any]:
    text = (ROOT / name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, ComposeLoader)["services"]["matching"]
    return loaded


def instructions(text: str) -> list[tuple[str, str]]:
    """Dockerfile instructions in order, continuation lines joined, comments dropped."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def run_steps() -> str:
    return " ".join(rest for word, rest in instructions(DOCKERFILE) if word == "RUN")


def mounts() -> dict[str, dict[str, Any]]:
    return {mount["target"]: mount for mount in service("docker-compose.yml")["volumes"]}


def test_the_service_and_its_container_have_the_agreed_names() -> None:
    assert service("docker-compose.yml")["container_name"] == "dinov3-matching"


def test_each_container_folder_is_a_mount_made_in_the_image_too() -> None:
    assert set(mounts()) == CONTAINER_FOLDERS
    made = shlex.split(next(part for part in run_steps().split("&&") if "mkdir -p /workspace" in part))
    assert set(made[2:]) == CONTAINER_FOLDERS


def test_everything_but_the_results_is_mounted_read_only() -> None:
    assert {target for target, mount in mounts().items() if not mount.get("read_only")} == {"/exports"}


def test_mounts_use_the_long_form_so_that_windows_paths_keep_their_colon() -> None:
    assert all(mount["type"] == "bind" for mount in mounts().values())


def test_a_mistyped_folder_is_an_error_and_an_optional_one_is_not() -> None:
    created = {target for target, mount in mounts().items() if mount["bind"]["create_host_path"]}
    assert created == {"/workspace/project", "/workspace/dinov3"}
    assert all(mounts()[target]["source"].endswith(":-./docker/empty}") for target in created)
    assert all(re.match(r"\$\{\w+_HOST:\?", mounts()[target]["source"]) for target in CONTAINER_FOLDERS - created)
    assert any((ROOT / "docker" / "empty").iterdir()), "git keeps no empty folder"


def test_graphs_and_results_lie_in_the_mounted_folder() -> None:
    environment = service("docker-compose.yml")["environment"]
    values = {name: str(value) for name, value in environment.items() if value is not None and "$" not in str(value)}
    roots = load_roots(values)
    assert roots.images == Path("/opt/datasets")
    assert roots.weights == Path("/opt/weights")
    assert roots.repository == Path("/workspace/dinov3")
    for folder in (roots.graphs, roots.embeds, roots.matches, roots.pictures):
        assert folder.is_relative_to("/exports")


def test_the_image_alone_has_the_same_folders_as_the_compose_file() -> None:
    declared = " ".join(rest for word, rest in instructions(DOCKERFILE) if word == "ENV")
    environment = service("docker-compose.yml")["environment"]
    for name in ("IMG_ROOT", "WEIGHTS_ROOT", "REPO_DIR", "EXPORT_ROOT"):
        assert f"{name}={environment[name]}" in declared.split()


def test_the_gpu_is_reserved_and_the_override_takes_it_back() -> None:
    (device,) = service("docker-compose.yml")["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    override = service("docker-compose.cpu.yml")
    assert override["deploy"] == "!reset"
    assert override["build"]["args"]["RUNTIME"] == "cpu"
    assert override["image"] != service("docker-compose.yml")["image"]


def test_every_runtime_the_image_offers_is_an_extra_with_constraints() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    offered = re.search(r'case "\$RUNTIME" in ([\w|-]+)\)', DOCKERFILE)
    assert offered is not None
    for runtime in offered[1].split("|"):
        assert re.search(rf"^{runtime} = \[", pyproject, re.MULTILINE)
        assert runtime == "cpu" or (ROOT / f"constraints-{runtime}.txt").is_file()


def test_every_variable_of_the_compose_files_is_in_the_example_and_the_other_way_round() -> None:
    files = COMPOSE_TEXT + (ROOT / "docker-compose.cpu.yml").read_text(encoding="utf-8")
    environment = service("docker-compose.yml")["environment"]
    used = set(re.findall(r"\$\{(\w+)", files)) | {name for name, value in environment.items() if value is None}
    offered = set(re.findall(r"^(?:# )?([A-Z0-9_]+)=", ENV_TEXT, re.MULTILINE))
    assert used == offered


def test_no_empty_value_of_the_example_is_followed_by_a_comment() -> None:
    # Docker Compose takes such a comment for the value; this program's own reader does not.
    assert not re.search(r"^\w+=[ \t]+#", ENV_TEXT, re.MULTILINE)


def test_the_program_reads_the_example_as_it_is() -> None:
    values = parse_dotenv(ENV_TEXT, ".env.example")
    assert values["TZ"] == "Asia/Seoul"
    assert values["PROJECT_HOST"] == ""
    assert load_roots(values).images == Path.cwd() / "data"


def test_the_example_turns_on_no_second_verification() -> None:
    values = parse_dotenv(ENV_TEXT, ".env.example")
    verifying = {"VIS_RANSAC", "VIS_RANSAC_IMPL", "VIS_REPROJ_TH", "VIS_CONFIDENCE", "VIS_ITERS"}
    assert not verifying & set(values)
    assert {name for name in values if name.startswith("VIS_")}


def test_everything_copied_exists_and_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    for word, rest in instructions(DOCKERFILE):
        sources = [part for part in rest.split() if not part.startswith("--")][:-1]
        if word != "COPY" or "--from=" in rest or sources == ["."]:
            continue
        for source in sources:
            assert list(ROOT.glob(source)), f"COPY {source}: no such file"
            assert source.rstrip("/") in kept, f"COPY {source}: left out by .dockerignore"


def test_the_stand_in_package_and_the_sources_never_share_a_folder() -> None:
    folder, at_stand_in, at_sources = "/", "", ""
    for word, rest in instructions(DOCKERFILE):
        if word == "WORKDIR":
            folder = rest
        if "__version__" in rest:
            at_stand_in = folder
        if (word, rest) == ("COPY", ". ."):
            at_sources = folder
    assert at_stand_in
    assert at_sources
    assert at_stand_in != at_sources


def test_the_build_sees_all_the_wheel_needs_and_no_private_file() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    assert {"pyproject.toml", "README.md", "LICENSE", "engine", "exporters", "models", "plugins"} <= kept
    assert not kept & {".env", "data", "weights", "exports", "shared", ".git"}


def test_the_image_says_what_it_is_in_the_labels_of_the_open_container_initiative() -> None:
    (label,) = (rest for word, rest in instructions(DOCKERFILE) if word == "LABEL")
    labels = dict(part.partition("=")[::2] for part in shlex.split(label))
    names = {name.removeprefix("org.opencontainers.image.") for name in labels}
    assert names == {"title", "description", "version", "licenses", "base.name"}
    assert labels["org.opencontainers.image.version"] == __version__
    bases = [rest.split()[0] for word, rest in instructions(DOCKERFILE) if word == "FROM"]
    assert {f"docker.io/library/{base}" for base in bases} == {labels["org.opencontainers.image.base.name"]}


def test_a_label_is_filled_in_only_where_its_stage_declares_the_argument() -> None:
    # An ARG before the first FROM is unknown inside a stage until the stage declares it again.
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    declared = {rest.partition("=")[0] for word, rest in instructions(last) if word == "ARG"}
    (label,) = (rest for word, rest in instructions(last) if word == "LABEL")
    assert set(re.findall(r"\$\{(\w+)\}", label)) <= declared


def test_the_program_knows_that_it_runs_in_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = " ".join(rest for word, rest in instructions(DOCKERFILE) if word == "ENV")
    monkeypatch.delenv("DINOV3_MATCH_CONTAINER", raising=False)
    assert not running_in_container()
    for name, _, value in (part.partition("=") for part in shlex.split(declared)):
        if name == "DINOV3_MATCH_CONTAINER":
            monkeypatch.setenv(name, value)
    assert running_in_container()


def test_the_image_runs_as_an_ordinary_user_and_checks_its_own_health() -> None:
    words = dict(instructions(DOCKERFILE))
    assert words["USER"].split(":")[0] not in ("0", "root")
    assert 'CMD ["engine", "plugins"]' in words["HEALTHCHECK"]


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-gpu.txt", "constraints-gpu-cu13.txt"])
def test_constraints_are_exact(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    names = [Requirement(line).name.lower().replace("_", "-") for line in lines]
    assert len(set(names)) == len(names) > 0
    for line in lines:
        (specifier,) = Requirement(line).specifier
        assert specifier.operator == "=="
        assert "*" not in specifier.version


@pytest.mark.skipif(os.name == "nt", reason="the wrappers are POSIX shell scripts of the image")
@pytest.mark.parametrize(("wrapper", "command"), [("run", "match"), ("run2", "match --source hf"), ("vis", "vis")])
def test_the_short_commands_pass_their_arguments_on_unchanged(tmp_path: Path, wrapper: str, command: str) -> None:
    stand_in = tmp_path / "engine"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 7\n')
    stand_in.chmod(0o755)
    arguments = ["--weights", "vitl16", "-a", "400.0200", "-b", "a folder/사진 1.jpg", "*", ""]
    done = subprocess.run(
        ["/bin/sh", ROOT / "docker" / "bin" / wrapper, *arguments],
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split("\n")[:-1] == [*command.split(), *arguments]
    assert done.returncode == 7


def test_shell_scripts_keep_unix_line_ends_in_a_windows_clone() -> None:
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8")
    assert "docker/bin/* text eol=lf" in attributes
    for script in [*(ROOT / "docker" / "bin").iterdir(), ROOT / ".ci" / "run"]:
        content = script.read_bytes()
        assert content.startswith(b"#!")
        assert b"\r" not in content


def compose_command() -> list[str] | None:
    """A Docker Compose that knows what the files use: `!reset` came with 2.24."""
    for command in (["docker-compose"], ["docker", "compose"]):
        if shutil.which(command[0]) is None:
            continue
        asked = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)
        version = re.match(r"v?(\d+)\.(\d+)", asked.stdout)
        if asked.returncode == 0 and version and (int(version[1]), int(version[2])) >= (2, 24):
            return command
    return None


@pytest.mark.parametrize("files", [["docker-compose.yml"], ["docker-compose.yml", "docker-compose.cpu.yml"]])
def test_docker_compose_itself_accepts_the_files(tmp_path: Path, files: list[str]) -> None:
    command = compose_command()
    if command is None:
        pytest.skip("Docker Compose 2.24 or newer is not installed")
    for name in files:
        shutil.copy(ROOT / name, tmp_path)
    windows = "DATASET_HOST=D:\\new drone\\photos  # 사진\nWEIGHTS_HOST=C:/weights\nEXPORT_HOST=D:\\exports\n"
    tmp_path.joinpath(".env").write_text(windows + "PROJECT_HOST=\nVIS_RANSAC=affine # again\n", encoding="utf-8")
    options = [option for name in files for option in ("-f", name)]
    unset = {"IMAGE_NAME", "TZ", "RUNTIME", *(name for name in os.environ if name.endswith("_HOST"))}
    done = subprocess.run(
        [*command, *options, "config"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name not in unset},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load(done.stdout)["services"]["matching"]
    sources = {mount["target"]: mount["source"] for mount in resolved["volumes"]}
    assert sources["/opt/datasets"] == "D:\\new drone\\photos"
    assert sources["/workspace/project"] == str(tmp_path / "docker" / "empty")
    assert resolved["environment"]["VIS_RANSAC"] == "affine"
    assert resolved["environment"]["VIS_ITERS"] is None
    assert ("deploy" in resolved) == (len(files) == 1)


def test_the_guide_begins_with_the_everyday_command_and_names_every_setting() -> None:
    guide = (ROOT / "docs" / "docker.md").read_text(encoding="utf-8")
    assert guide.splitlines()[0].strip() == "docker compose exec matching run --weights vitl16 -a 400.0200 -b 200.0200"
    settings = re.findall(r"^([A-Z0-9_]+)=", ENV_TEXT, re.MULTILINE)
    assert not [setting for setting in settings if setting not in guide and not setting.startswith("VIS_")]
    table = dict(re.findall(r"^\| `(\w+_HOST)`[^|]*\| `([^`]+)`", guide, re.MULTILINE))
    variables = {target: re.findall(r"\w+_HOST", mount["source"])[0] for target, mount in mounts().items()}
    assert table == {variable: target for target, variable in variables.items()}
