"""Updates the login node: fetches a commit, builds a release of it, checks it, installs its commands, and lets it serve.

    ROOT/repository.git         the clone that is fetched into: a cache, made anew when it is broken
    ROOT/releases/COMMIT/       the plain tree of one commit, never changed once it is there
    ROOT/current                a link to the release that serves: the one thing that a switch changes
    ROOT/switches.json          which release followed which, for going back and for cleaning up
    ROOT/settings.json          what all of it is configured with

The steps are modules: `fetch`, `tree`, `prepare` (with `install`), `switch`, `clean`; `pull` puts them together, and `turn`
keeps a second one away meanwhile. Standard library and git, Python 3.9 or newer. Nothing of it is imported by a dispatch.
A release is fetched, built and switched by the one that serves; it is checked and installed by its own code, so that what
the two disagree about (the format of approvals, say) does not keep an update from coming.
"""

from dea.remote.releases.errors import ReleaseError

__all__ = ["ReleaseError"]
