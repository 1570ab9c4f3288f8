"""Updates the login node to the newest commit of the production branch, with the key that can do nothing else."""

import json
from typing import Any

from dea.lambdas import OrchestratorException, RaijinCommand


class GitPullCommand(RaijinCommand):
    """Has the login node update itself, and says what changed there."""

    COMMAND_NAME = "git_pull"

    def __init__(self) -> None:
        super().__init__(self)

    def command(self) -> dict[str, Any]:
        """Run `git_pull` on the login node and return its report (docs/reference/git-pull.md).

        Raises:
            OrchestratorException: If the new release does not serve: the one before goes on serving.
        """
        # The key's forced command runs git_pull whatever it is sent, and without options.
        stdout, stderr, exit_code = self.raijin.exec_command("git_pull")
        if exit_code != 0:
            # It can have been ended after the switch, by a timeout say: its report knows, this does not.
            raise OrchestratorException(f"git_pull failed there; {_switched(stdout)}", stdout, stderr, exit_code)
        try:
            report: dict[str, Any] = json.loads(stdout)
            facts = {name: report[name] for name in ("old", "new", "switched", "duration_s")}
        except (ValueError, KeyError, TypeError) as error:
            raise OrchestratorException(
                "the login node's answer is no report of git_pull: is the key's forced command the right one?",
                stdout,
                stderr,
                exit_code,
            ) from error
        self.logger.info("login node updated" if report["switched"] else "nothing is new", extra=facts)
        return report


def _switched(stdout: str) -> str:
    """Return what the report of an update that failed says of its switch."""
    try:
        report = json.loads(stdout)
        return f"{report['new']} serves all the same" if report["switched"] else "what served before goes on serving"
    except (ValueError, KeyError, TypeError):
        return "it gave no report, so inv git-pull tells what serves"


# Whatever the event says: a push to the production branch, say. Its delivery names the run, so a retry updates nothing twice.
handler = GitPullCommand.handler
