"""All songs of a server, from the surest source that it has."""

from __future__ import annotations

from dataclasses import asdict

from subsonic.client import Client
from subsonic.errors import SubsonicError
from subsonic.songs import ServerSong


async def fetch_songs(client: Client) -> list[ServerSong]:
    """Every song that the account sees, with its music folder, from the surest source there is."""
    await client.ping()
    native = await client.native_songs()
    if native is not None:
        return native
    folders = await _folder_ids(client)
    if len(folders) < 2:
        folder_id = folders[0] if folders else ""
        return [song async for song in client.songs(folder_id)]
    found: dict[str, ServerSong] = {}
    overlapping: set[str] = set()
    for folder_id in folders:
        async for song in client.songs(folder_id):
            if song.song_id in found:
                overlapping.add(song.song_id)
            found[song.song_id] = song
    if overlapping:  # a server that does not know the limit lists all songs for every folder
        return [_without_folder(s) if s.song_id in overlapping else s for s in found.values()]
    return list(found.values())


def _without_folder(song: ServerSong) -> ServerSong:
    return ServerSong(**{**asdict(song), "folder_id": ""})


async def _folder_ids(client: Client) -> list[str]:
    try:
        return list(await client.music_folders())
    except SubsonicError:
        return []
