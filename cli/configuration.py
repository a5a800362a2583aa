"""The effective configuration: flags beat environment beats file beats default.

Each room owns the settings class of its section; here they are filled, every value checked
against its annotation by pydantic, and the origin of each kept. Sections are composed when asked
for, so a command loads only the rooms it needs.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cli import sections
from cli.composition import MASK, fill, unique, unknown_section, where
from cli.errors import ConfigurationError
from cli.sections import OWNERS, Key, keys
from cli.sources import FILE_PLACES, Given, Origin, find_file, read_environment
from cli.sources import read_file as read_values

if TYPE_CHECKING:
    from catalog.settings import LibrarySettings
    from cli.settings import LogSettings
    from embedder.settings import EmbeddingSettings
    from proxy.settings import ServerSettings, SteeringSettings
    from ranker.settings import RankingSettings
    from subsonic.settings import UpstreamSettings


_USER_INFO: Final = re.compile(r"(?<=//)[^/@\s]+(?=@)")

_DEFAULT: Final = Origin("default")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Value:
    """One effective value: its full name, itself, where it comes from and its key."""

    path: tuple[str, ...]
    value: Any
    origin: Origin
    key: Key

    @property
    def shown(self) -> Any:
        """The value with secrets masked."""
        if self.key.secret and self.value:
            return MASK
        if isinstance(self.value, str):
            return _USER_INFO.sub(MASK, self.value)
        return self.value


class Configuration:
    """What was given, and the sections composed from it on demand.

    Raises:
        ConfigurationError: at once, when something names a section that does not exist; from a
            section, when one of its keys is unknown or its value cannot be taken.
    """

    def __init__(self, given: Iterable[Given] = (), file: Path | None = None) -> None:
        self.file = file
        self._given: dict[tuple[str, ...], Given] = {}
        self._composed: dict[str, Any] = {}
        problems = []
        for one in given:
            section = one.path[0]
            if section not in OWNERS:
                problems.append(unknown_section(one))
            elif len(one.path) == 1:
                if one.value != {}:
                    problems.append(f"{where(one)}: [{section}] is a section, not a value")
            else:
                self._given[one.path] = one
        if problems:
            # Told with all that is wrong in the other sections: one round of corrections is enough.
            for name in dict.fromkeys(path[0] for path in self._given):
                try:
                    self._section(name, sections.settings_class(name))
                except ConfigurationError as error:
                    problems.extend(error.problems)
                except ImportError:  # a section whose room is not installed here
                    continue
            raise ConfigurationError(unique(problems))

    @property
    def upstream(self) -> UpstreamSettings:
        """The `[upstream]` section."""
        from subsonic.settings import UpstreamSettings

        return self._section("upstream", UpstreamSettings)

    @property
    def server(self) -> ServerSettings:
        """The `[server]` section."""
        from proxy.settings import ServerSettings

        return self._section("server", ServerSettings)

    @property
    def library(self) -> LibrarySettings:
        """The `[library]` section, with ~ in its folders replaced."""
        from catalog.settings import LibrarySettings

        settings = self._section("library", LibrarySettings)
        return replace(
            settings, music=tuple(map(_expanded, settings.music)), data=_expanded(settings.data)
        )

    @property
    def embedding(self) -> EmbeddingSettings:
        """The `[embedding]` section, with ~ in its folder replaced."""
        from embedder.settings import EmbeddingSettings

        settings = self._section("embedding", EmbeddingSettings)
        return replace(settings, models_dir=_expanded(settings.models_dir))

    @property
    def steering(self) -> SteeringSettings:
        """The `[steering]` section."""
        from proxy.settings import SteeringSettings

        return self._section("steering", SteeringSettings)

    @property
    def ranking(self) -> RankingSettings:
        """The `[ranking]` section."""
        from ranker.settings import RankingSettings

        return self._section("ranking", RankingSettings)

    @property
    def log(self) -> LogSettings:
        """The `[log]` section."""
        from cli.settings import LogSettings

        return self._section("log", LogSettings)

    @property
    def data(self) -> Path:
        """Where the library and the snapshots live; below the working directory if relative."""
        return Path(self.library.data)

    def check(self, names: Iterable[str] = tuple(OWNERS)) -> None:
        """Compose these sections.

        Raises:
            ConfigurationError: with the problems of all of them.
        """
        problems: list[str] = []
        for name in names:
            try:
                self._section(name, sections.settings_class(name))
            except ConfigurationError as error:
                problems.extend(error.problems)
        if problems:
            raise ConfigurationError(problems)

    def values(self, section: str) -> Iterator[Value]:
        """Every effective value of a section, in the order of its class."""
        settings = self._section(section, sections.settings_class(section))
        yield from self._values((section,), settings)

    def _values(self, at: tuple[str, ...], settings: Any) -> Iterator[Value]:
        for key in keys(type(settings)).values():
            path = (*at, key.name)
            value = getattr(settings, key.name)
            if key.item is not None:
                for name, entry in value.items():
                    yield from self._values((*path, name), entry)
            else:
                yield Value(path, value, self._origin(path), key)

    def _origin(self, path: tuple[str, ...]) -> Origin:
        for given in self._given.values():
            if given.path[: len(path)] == path:
                return given.origin
        return _DEFAULT

    def _section(self, name: str, settings: type[T]) -> T:
        if name not in self._composed:
            given = {g.path[1:]: g for g in self._given.values() if g.path[0] == name}
            problems: list[str] = []
            composed = fill(settings, (name,), given, problems)
            if problems:
                raise ConfigurationError(unique(problems))
            self._composed[name] = composed
        found = self._composed[name]
        assert isinstance(found, settings)
        return found


def load(
    config: str | None, flags: Mapping[tuple[str, ...], tuple[str, Any]], env: Mapping[str, str]
) -> Configuration:
    """Compose the configuration of one call of the command.

    Args:
        config: what `--config` said.
        flags: path of a key -> (name of the flag, its value).
        env: the environment.

    Raises:
        ConfigurationError: a named file is missing or no TOML, or names an unknown section.
    """
    file = find_file(config, env)
    given = [] if file is None else read_values(file)
    given += read_environment(env)
    given += [Given(path, value, Origin("flag", name)) for path, (name, value) in flags.items()]
    return Configuration(given, file)


def describe_file(configuration: Configuration) -> str:
    """Which file was read, or where one would have been."""
    return str(configuration.file or f"no file (looked for {' and '.join(FILE_PLACES)})")


def exposed_password(configuration: Configuration) -> Path | None:
    """The configuration file, where it holds a password and everybody on this machine may read it.

    Its group may: a file of root's for the group that runs Segue is as good.
    """
    file = configuration.file
    values = {value.path[1]: value for value in configuration.values("upstream")}
    password = values["password"]
    if file is None or not password.value or password.origin.kind != "file":
        return None
    whole = file.resolve()
    try:
        is_open = whole.stat().st_mode & stat.S_IROTH and all(
            folder.stat().st_mode & stat.S_IXOTH for folder in whole.parents
        )
    except OSError:
        return None
    return file if is_open else None


def closing(file: Path) -> str:
    """What makes a configuration file its owner's alone: commands, for people."""
    return f"chmod 600 {file}, and chown it to the user that runs Segue"


def _expanded(folder: str) -> str:
    return str(Path(folder).expanduser()) if folder.startswith("~") else folder
