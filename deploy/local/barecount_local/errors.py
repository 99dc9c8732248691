"""What can go wrong with the embedded stack. Every error says what happened, to which thing, and what to do now.

StackError
├── AlreadyRunning      another supervisor holds this data folder
├── DownloadRefused     a pinned jar cannot be fetched
├── FolderUnusable      the data folder cannot be written, is full, or PostgreSQL's user cannot pass it
├── JarMismatch         the bytes of a jar are not the ones that the lock names
├── NotReady            a deadline passed; names what was waited for and the last log lines
├── Refusing            services refuse to start; the servers stay up for the repair
├── PortTaken           somebody else listens on a port that was asked for
└── TopicMismatch       a topic stands with another partition count than the catalogue's
"""

from __future__ import annotations


class StackError(Exception):
    """Something about the embedded stack that the user can act on; the message is the whole story."""


class AlreadyRunning(StackError):
    """Another supervisor holds the lock of this data folder."""


class DownloadRefused(StackError):
    """A jar of the lock is not on this machine and cannot be fetched."""


class FolderUnusable(StackError):
    """A folder cannot be written, has no room, or cannot be passed by the user that PostgreSQL runs as."""


class JarMismatch(StackError):
    """The bytes of a jar differ from the committed lock."""


class NotReady(StackError):
    """A condition did not come true before its deadline, or the process that should bring it about died."""


class PortTaken(StackError):
    """A port that was asked for by a setting is in use."""


class Refusing(StackError):
    """Services refuse to start until a person has decided (the log was restored from an older copy). The stack is not ended for it."""


class TopicMismatch(StackError):
    """A topic exists with another partition count than the catalogue names."""
