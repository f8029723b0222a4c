"""Completion of the command line in bash: a script that needs no Python once it is loaded."""

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


def bash(choices: Mapping[str, Sequence[str]], flags: Mapping[str, Sequence[str]]) -> str:
    """Returns the script; where no word fits, bash completes names of files.

    Args:
        choices: The words of which one follows the verb, by verb.
        flags: The flags of each verb, by verb; every verb has a key.
    """
    cases = [f'2:{verb}:*) words="{" ".join(words)}" ;;' for verb, words in choices.items()]
    cases += [f'*:{verb}:-*) words="{" ".join((*words, "--help"))}" ;;' for verb, words in flags.items()]
    return SCRIPT.format(verbs=" ".join((*flags, "--help", "--version")), others="\n        ".join(cases))
