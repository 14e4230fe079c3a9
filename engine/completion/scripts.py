"""Completion scripts for bash, zsh and fish."""

from collections.abc import Callable, Iterator, Mapping

from engine.completion.words import CommandWords, OptionWords, ValueKind

Commands = Mapping[str, CommandWords]

_ASK_IMAGES = "engine completion images 2>/dev/null"


def bash_script(commands: Commands) -> str:
    """For bash 3.2 and newer: `source <(engine completion bash)`."""
    cases = "\n".join(_bash_case(name, command) for name, command in commands.items())
    return f"""# Completion of 'engine' for bash. In ~/.bashrc: source <(engine completion bash)
_engine() {{
    local -a typed
    local last=0 at part word before command="" option="" words="" prefix="" breaks="" cut
    local rest="${{COMP_LINE:0:COMP_POINT}}"
    # Bash takes the colon of ID:ALT.FRAME and the = of --option=value for ends of words: they are put together again.
    for ((at = 0; at <= COMP_CWORD; at++)); do
        part="${{COMP_WORDS[at]}}"
        case "$rest" in
            [[:space:]]*) [ $at -gt 0 ] && last=$((last + 1)); typed[last]="$part" ;;
            *) case "${{typed[last]:-}}|$part" in
                *[:=]"|"* | *"|"[:=]*) typed[last]="${{typed[last]:-}}$part" ;;
                *) [ $at -gt 0 ] && last=$((last + 1)); typed[last]="$part" ;;
            esac ;;
        esac
        rest="${{rest#*"$part"}}"
    done
    word="${{typed[last]}}" before="${{typed[last > 0 ? last - 1 : 0]}}"
    COMPREPLY=()
    for ((at = 1; at < last; at++)); do
        case "${{typed[at]}}" in
            {"|".join(commands)}) command="${{typed[at]}}"; break ;;
        esac
    done
    # Of options with several values, the last option before the word counts.
    for ((at = last - 1; at > 0; at--)); do
        case "${{typed[at]}}" in -*) option="${{typed[at]}}"; break ;; esac
    done
    case "$word" in --*=*) prefix="${{word%%=*}}=" option="${{word%%=*}}" before="$option" word="${{word#*=}}" ;; esac
    case "$command" in
        "") words="{" ".join(commands)} --help --version" ;;
{cases}
    esac
    case "$words" in
        @files) COMPREPLY=($(compgen -f -- "$word")) ;;
        @folders) COMPREPLY=($(compgen -d -- "$word")) ;;
        @images) COMPREPLY=($(compgen -W "$({_ASK_IMAGES})" -- "$word") $(compgen -f -- "$word")) ;;
        *) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
    esac
    [ -n "${{COMPREPLY[0]:-}}" ] || COMPREPLY=()
    # Only what follows the last break is replaced on the line.
    for at in : =; do case "$COMP_WORDBREAKS" in *"$at"*) breaks="$breaks$at" ;; esac; done
    cut="$prefix$word"
    [ -n "$breaks" ] && cut="${{cut%"${{cut##*[$breaks]}}"}}" || cut=""
    for ((at = 0; at < ${{#COMPREPLY[@]}}; at++)); do
        part="$prefix${{COMPREPLY[at]}}"
        COMPREPLY[at]="${{part#"$cut"}}"
    done
}}
complete -o filenames -o bashdefault -F _engine engine
"""


def _bash_case(name: str, command: CommandWords) -> str:
    lines = [f"        {name})"]
    options = " ".join(names for option in command.options for names in option.names)
    positional = next((option for option in command.options if not option.names), None)
    rest = _bash_words(positional) if positional is not None else options
    lines.append(f'            words="{rest}"')
    lines.append(f'            case "$word" in -*) words="{options}" ;; *)')
    for several in (True, False):
        variable = "option" if several else "before"
        lines.append(f'                case "${variable}" in')
        lines += [
            f'                    {"|".join(option.names)}) words="{_bash_words(option)}" ;;'
            for option in command.options
            if option.names and option.kind is not ValueKind.NONE and option.several is several
        ]
        lines.append("                esac")
    lines.append("            esac ;;")
    return "\n".join(lines)


def _bash_words(option: OptionWords) -> str:
    of_kind = {ValueKind.FILE: "@files", ValueKind.FOLDER: "@folders", ValueKind.IMAGE: "@images", ValueKind.OTHER: ""}
    return of_kind.get(option.kind, " ".join(option.words))


def zsh_script(commands: Commands) -> str:
    """For zsh 5 and newer: `source <(engine completion zsh)` after `compinit`, or saved as `_engine` in `fpath`."""
    listed = "\n".join(f"        {_quoted(f'{name}:{command.help}')}" for name, command in commands.items())
    cases = "\n".join(_zsh_case(name, command) for name, command in commands.items())
    return f"""#compdef engine
# Completion of 'engine' for zsh. In ~/.zshrc, after compinit: source <(engine completion zsh)
_engine_images() {{
    local -a images
    images=(${{(f)"$({_ASK_IMAGES})"}})
    compadd -a images
    _files
}}
_engine() {{
    local context state state_descr line
    typeset -A opt_args
    local -a commands
    commands=(
{listed}
    )
    _arguments -C '(-h --help)'{{-h,--help}}'[show this page]' '--version[versions]' '1: :->command' '*:: :->arguments'
    case "$state" in
        command) _describe command commands ;;
        arguments)
            case "$words[1]" in
{cases}
            esac ;;
    esac
}}
if [ "$funcstack[1]" = _engine ]; then _engine "$@"; else compdef _engine engine; fi
"""


def _zsh_case(name: str, command: CommandWords) -> str:
    specs = [_zsh_option(option) for option in command.options]
    return (
        f"                {name}) _arguments -s \\\n"
        + " \\\n".join(f"                    {spec}" for spec in specs)
        + " ;;"
    )


def _zsh_option(option: OptionWords) -> str:
    action = {
        ValueKind.FILE: "_files",
        ValueKind.FOLDER: "_files -/",
        ValueKind.IMAGE: "_engine_images",
        ValueKind.OTHER: " ",
        ValueKind.WORDS: f"({' '.join(option.words)})",
        ValueKind.NONE: "",
    }[option.kind]
    if not option.names:
        return _quoted(f"*:{_colons(_short(option.help))}:{action}")
    value = "" if option.kind is ValueKind.NONE else f":value:{action}"
    if option.several:
        # All words up to the next option are values.
        value = f":*-*:value:{action}"
    told = f"[{_brackets(_short(option.help))}]"
    repeats = option.several or option.names[0] == "-v"
    if repeats:
        return " ".join(_quoted(f"*{name}{told}{value}") for name in option.names)
    others = " ".join(option.names)
    return " ".join(_quoted(f"({others}){name}{told}{value}") for name in option.names)


def fish_script(commands: Commands) -> str:
    """For fish 3 and newer: saved as `~/.config/fish/completions/engine.fish`."""
    return "\n".join(_fish_lines(commands)) + "\n"


def _fish_lines(commands: Commands) -> Iterator[str]:
    yield "# Completion of 'engine' for fish: engine completion fish > ~/.config/fish/completions/engine.fish"
    yield "complete -c engine -f"
    yield "complete -c engine -n __fish_use_subcommand -l help -d 'show this page'"
    yield "complete -c engine -n __fish_use_subcommand -l version -d versions"
    for name, command in commands.items():
        yield f"complete -c engine -n __fish_use_subcommand -a {name} -d {_quoted(_short(command.help))}"
        for option in command.options:
            yield f"complete -c engine -n '__fish_seen_subcommand_from {name}' {_fish_option(option)}"


def _fish_option(option: OptionWords) -> str:
    flags = [_fish_flag(name) for name in option.names]
    values = {
        ValueKind.FILE: "-r -F",
        ValueKind.FOLDER: "-x -a '(__fish_complete_directories)'",
        ValueKind.IMAGE: f"-r -F -a '({_ASK_IMAGES})'",
        ValueKind.OTHER: "-x",
        ValueKind.WORDS: f"-x -a {_quoted(' '.join(option.words))}",
        ValueKind.NONE: "",
    }[option.kind]
    if not option.names:
        values = values.replace("-r ", "").replace("-x ", "")
    return " ".join(filter(None, [*flags, values, f"-d {_quoted(_short(option.help))}"]))


def _fish_flag(name: str) -> str:
    if name.startswith("--"):
        return f"-l {name[2:]}"
    # -xl and its like are what fish calls old-style: one dash, several letters.
    return f"-s {name[1:]}" if len(name) == 2 else f"-o {name[1:]}"


def _short(help: str) -> str:
    """Help up to its first `;` or `(default`, for a menu has one line."""
    return help.split(" (default")[0].split(";")[0]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _brackets(text: str) -> str:
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def _colons(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:")


WRITERS: dict[str, Callable[[Commands], str]] = {"bash": bash_script, "zsh": zsh_script, "fish": fish_script}
"""What writes the script of each shell."""
