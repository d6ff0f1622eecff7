"""What the shell completes after `unreel`: commands, what `evaluate` evaluates, options, files."""

from unreel.cli.commands import COMMANDS
from unreel.errors import unknown_name_error

BASH = """# unreel: completion for bash. Put this into ~/.bashrc:   eval "$(unreel --completion bash)"
declare -A _unreel_options
_unreel() {
    local word="${COMP_WORDS[COMP_CWORD]}" command="${COMP_WORDS[1]}"
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "COMMANDS --help --version --completion" -- "$word"))
        return
    fi
    case "$command" in
        evaluate) [ "$COMP_CWORD" -eq 2 ] && COMPREPLY=($(compgen -W "EVALUATIONS" -- "$word"))
                  command="evaluate ${COMP_WORDS[2]}" ;;
        classify) [ "$COMP_CWORD" -eq 2 ] && COMPREPLY=($(compgen -W "train apply" -- "$word"))
                  command="classify ${COMP_WORDS[2]}" ;;
        data) [ "$COMP_CWORD" -eq 2 ] && COMPREPLY=($(compgen -W "check" -- "$word"))
              command="data check" ;;
        --completion) COMPREPLY=($(compgen -W "SHELLS" -- "$word")) ;;
    esac
    if [ "${word:0:2}" = "--" ]; then  # the help is asked once for each command
        if [ -z "${_unreel_options[$command]}" ]; then
            local found="$("${COMP_WORDS[0]}" $command --help 2>/dev/null | grep -oE -- '--[a-z][a-z0-9-]*')"
            _unreel_options[$command]="$(sort -u <<< "$found")"
        fi
        COMPREPLY=($(compgen -W "${_unreel_options[$command]}" -- "$word"))
    fi
}
complete -o bashdefault -o default -F _unreel unreel
"""
ZSH_HEAD = """# unreel: completion for zsh. Put this into ~/.zshrc:   eval "$(unreel --completion zsh)"
autoload -U +X compinit && compinit
autoload -U +X bashcompinit && bashcompinit
"""
SHELLS = ("bash", "zsh")


def format_completion(shell: str) -> str:
    """The script that completes `unreel` in a shell. Raises InputError for another shell."""
    if shell not in SHELLS:
        raise unknown_name_error("shell", shell, SHELLS)
    from unreel.evaluation.protocol_registry import list_protocols

    evaluations = " ".join((*list_protocols(), "finetune", "detection", "all"))
    script = BASH.replace("COMMANDS", " ".join(COMMANDS)).replace("EVALUATIONS", evaluations)
    script = script.replace("SHELLS", " ".join(SHELLS))
    return script if shell == "bash" else ZSH_HEAD + script.partition("\n")[2]
