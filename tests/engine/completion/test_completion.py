"""Completion in the shells themselves, where they are installed: what follows a line typed so far."""

import os
import re
import select
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.cli import COMMANDS, build_parser
from engine.cli_completion import command_words, image_words
from engine.completion.scripts import WRITERS, bash_script
from engine.completion.words import ValueKind
from engine.context import Context
from engine.plugin_registry import load_registry
from engine.settings import load_roots
from models.catalogue import BACKBONES
from plugins import BUILTINS


@pytest.fixture(scope="module")
def commands():
    return command_words(Context({}, load_roots({}), load_registry(BUILTINS)))


def needs(shell: str):
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


def run(shell: list[str], text: str, folder: Path) -> str:
    done = subprocess.run(shell, input=text, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def bash_words(commands, line: str, folder: Path) -> set[str]:
    words = " ".join(f"'{word}'" for word in line.split(" "))
    ask = (
        f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE='{line}'; "
        "COMP_POINT=${#COMP_LINE}; _engine; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    images = "engine() { echo 400; echo 400.0001; echo 200; }"
    return set(run(["bash", "--norc"], f"{images}\n{bash_script(commands)}\n{ask}\n", folder).split())


@needs("bash")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("engine ma", {"match"}),
        ("engine match --matc", {"--matcher", "--matcher-option", "--match-th", "--match-precision"}),
        ("engine match -w vits", {"vits16", "vits16+"}),
        ("engine match -w vits16 vitb", {"vitb16"}),
        ("engine match --matcher mutual_k", {"mutual_knn"}),
        ("engine match --filter homo", {"homography"}),
        ("engine -v match --precision b", {"bf16"}),
        ("engine match --provider ten", {"tensorrt"}),
        ("engine match -a 40", {"400", "400.0001"}),
        ("engine list -w vit7b16s", {"vit7b16sat"}),
        ("engine vis pi", {"pictures"}),
        ("engine report --out pi", {"pictures"}),
        ("engine convert --to col", {"colmap"}),
        ("engine completion z", {"zsh"}),
        ("engine match --nothing-like", set()),
    ],
)
def test_bash(commands, tmp_path: Path, line: str, found: set[str]) -> None:
    (tmp_path / "pictures").mkdir()
    options = {name for option in commands["match"].options for name in option.names}
    expected = found & options if line.endswith("--matc") else found
    assert bash_words(commands, line, tmp_path) == expected


@needs("bash")
def test_bash_offers_every_command_and_every_option(commands, tmp_path: Path) -> None:
    assert {command.name for command in COMMANDS} <= bash_words(commands, "engine ", tmp_path)
    for name, parser in build_parser()[1].items():
        assert bash_words(commands, f"engine {name} -", tmp_path) == set(parser.option_strings()), name


_BASH = """engine() {
    if [ "$1 $2" = "completion images" ]; then printf '%s\\n' 250101:400.0001 250102:200.0001 200.0002; return; fi
    printf '<%s>' "$@"; echo "<END"">"
}
PS1='<RE''ADY>'; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'
"""


@needs("bash")
@pytest.mark.skipif(os.name == "nt", reason="there are no terminals of this kind")
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("engine match -a 250101:4", "<match><-a><250101:400.0001>"),
        ("engine match -a 250102:", "<match><-a><250102:200.0001>"),
        ("engine match -a 250101:400.0001 -b 200", "<match><-a><250101:400.0001><-b><200.0002>"),
        ("engine match --matcher=mu", "<match><--matcher=mutual_knn>"),
        ("engine match --image-a=250101:4", "<match><--image-a=250101:400.0001>"),
        ("engine match --images=pi", "<match><--images=pictures/>"),
        ("engine match --images=pictures --matcher mu", "<match><--images=pictures><--matcher><mutual_knn>"),
        ("engine convert --to col", "<convert><--to><colmap>"),
        ("engine match --matcher=no_such", "<match><--matcher=no_such>"),
    ],
)
def test_bash_at_a_terminal(commands, tmp_path: Path, line: str, completed: str) -> None:
    """Keys pressed in a real, interactive bash: only there are words broken at colons and equal signs."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "script").write_text(_BASH + bash_script(commands), "utf-8")
    printed = typed_at_a_terminal(["bash", "--norc", "-i"], ["source ./script", f"{line}\t"], tmp_path)
    assert re.findall(r"(<\w+>\S*)<END>", printed) == [completed], printed


def typed_at_a_terminal(shell: list[str], lines: list[str], folder: Path) -> str:
    """What a shell prints while these lines are typed, each once it is ready for it."""
    import pty

    keyboard, terminal = pty.openpty()
    environment = {**os.environ, "PS1": "<READY>", "TERM": "dumb", "HISTFILE": ""}
    process = subprocess.Popen(
        shell, cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True
    )
    os.close(terminal)
    printed = ""
    try:
        for line in [*lines, "exit"]:
            seen = len(printed)
            while "<READY>" not in printed[seen:]:
                printed += read_from(keyboard)
            os.write(keyboard, f"{line}\n".encode())
        process.wait(60)
        return printed
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)


def read_from(keyboard: int) -> str:
    ready, _, _ = select.select([keyboard], [], [], 60)
    assert ready, "the shell says nothing"
    return os.read(keyboard, 65536).decode("utf-8", "replace")


def fish_words(commands, line: str, folder: Path) -> set[str]:
    script = f"{WRITERS['fish'](commands)}\nfunction engine; echo 400; echo 400.0001; end\ncomplete -C '{line}'\n"
    printed = run(["fish", "--no-config"], script, folder)
    return {entry.split("\t")[0] for entry in printed.splitlines()}


@needs("fish")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("engine mat", {"match"}),
        ("engine match --matcher mutual_k", {"mutual_knn"}),
        ("engine match -w vits", {"vits16", "vits16+"}),
        ("engine match --filter-o", {"--filter-option"}),
        ("engine match -a 400", {"400", "400.0001"}),
        ("engine vis -x", {"-xl", "-xp"}),
        ("engine convert --to col", {"colmap"}),
    ],
)
def test_fish(commands, tmp_path: Path, line: str, found: set[str]) -> None:
    assert fish_words(commands, line, tmp_path) >= found
    assert not {word for word in fish_words(commands, line, tmp_path) if word not in found and word.startswith("vitl")}


_ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=">"; stty -echo; autoload -Uz compinit; compinit -u -d dump'
zpty -w shell 'zstyle ":completion:*" list-grouped false; LISTMAX=0; setopt auto_list no_menu_complete; source script'
zpty -w shell 'echo rea''dy'
zpty -r shell out '*ready*'
zpty -w -n shell 'LINE'$'\t'
sleep 0.3
zpty -w -n shell $'\C-aprint -r -- COM""PLETED \C-e\n'
zpty -r shell out '*COMPLETED*'$'\n'
print -r -- $out
"""


@needs("zsh")
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("engine conver", "engine convert"),
        ("engine match --matcher mutual_k", "engine match --matcher mutual_knn"),
        ("engine match --filter-o", "engine match --filter-option"),
        ("engine match -w vit7b16s", "engine match -w vit7b16sat"),
        ("engine convert --to col", "engine convert --to colmap"),
        ("engine match -xyz", "engine match -xyz"),
    ],
)
def test_zsh(commands, tmp_path: Path, line: str, completed: str) -> None:
    (tmp_path / "script").write_text(WRITERS["zsh"](commands), "utf-8")
    printed = subprocess.run(
        ["zsh", "-f"],
        input=_ZSH.replace("LINE", line),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout
    assert [text.strip() for text in re.findall(r"COMPLETED (engine.*)", printed)] == [completed], printed


@pytest.mark.parametrize("shell", list(WRITERS))
def test_the_command_writes_a_script_that_the_shell_can_read(command, tmp_path: Path, shell: str) -> None:
    ran = command("completion", shell)
    assert ran.code == 0
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    run([shell, "-n"], ran.out, tmp_path)


def test_images_of_the_data_set(command, data_set: Path) -> None:
    for path in data_set.rglob("*.png"):
        path.rename(path.with_suffix(".jpg"))
    assert command("completion", "images").out.split() == [
        "200",
        "400",
        *("400.0001", "400.0002", "200.0001", "200.0002"),
    ]


def test_words_of_options(commands) -> None:
    options = {name: option for option in commands["match"].options for name in option.names}
    assert options["--weights"].words == tuple(BACKBONES)
    assert options["-a"].kind is ValueKind.IMAGE
    assert options["--images"].kind is ValueKind.FOLDER
    assert options["--log-file"].kind is ValueKind.FILE
    assert options["--save-emb"].kind is ValueKind.NONE
    assert options["--reproj-th"].kind is ValueKind.OTHER


def test_a_shell_that_is_not_known(command) -> None:
    ran = command("completion", "fihs")
    assert ran.code == 2
    assert "Did you mean 'fish'?" in ran.err


def test_a_data_set_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    from engine.errors import DataSetError

    roots = load_roots({"IMG_ROOT": str(tmp_path / "nowhere")})
    with pytest.raises(DataSetError):
        image_words(Context({}, roots, load_registry(BUILTINS)))
