"""What shells need to complete the words of `vos`: a script made of the subcommands' own declarations."""

from __future__ import annotations

from collections.abc import Iterable

from vos.syntax import Syntax

_SCRIPT = """\
# Completion of vos for bash; for zsh behind: autoload -U bashcompinit && bashcompinit
_vos() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words=
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{names}"
    else
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
        case "$word" in
            -*) ;;
            *) words= ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _vos vos
"""


def script(known: Iterable[Syntax]) -> str:
    """The completion of these subcommands and their switches, for bash. Hidden ones are left out."""
    shown = sorted((each for each in known if not each.hidden), key=lambda each: each.name)
    names = " ".join(each.name for each in shown)
    return _SCRIPT.format(names=names, cases="\n".join(_case(each) for each in shown))


def _case(syntax: Syntax) -> str:
    names = "|".join((syntax.name, *syntax.aliases))
    switches = [switch.name for switch in syntax.switches if not switch.hidden]
    return f'            {names}) words="{" ".join([*switches, "-help"])}" ;;'
