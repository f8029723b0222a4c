"""Completion of the command line in bash and zsh: a script that needs no Python once it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SCRIPT = """_adabatch() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} words=
    case $COMP_CWORD:${{COMP_WORDS[1]}}:$current in
        1:*) words="{verbs}" ;;
        {others}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o bashdefault -o default -F _adabatch adabatch"""
IN_ZSH = """autoload -U +X compinit && compinit
autoload -U +X bashcompinit && bashcompinit
"""
SHELLS = ("bash", "zsh")


def script(shell: str, choices: Mapping[str, Sequence[str]], flags: Mapping[str, Sequence[str]]) -> str:
    """Returns the script; where no word fits, the shell completes names of files.

    Args:
        shell: The shell, one of ``SHELLS``. zsh is taught bash's way first, by functions of its own.
        choices: The words of which one follows the verb, by verb.
        flags: The flags of each verb, by verb; every verb has a key.
    """
    cases = [f'2:{verb}:*) words="{" ".join(words)}" ;;' for verb, words in choices.items()]
    cases += [f'*:{verb}:-*) words="{" ".join((*words, "--help"))}" ;;' for verb, words in flags.items()]
    found = SCRIPT.format(verbs=" ".join((*flags, "--help", "--version")), others="\n        ".join(cases))
    return IN_ZSH + found if shell == "zsh" else found
