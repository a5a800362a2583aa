"""Words to a profile of tags: "sad dreamy late night" becomes weights on labels.

A word is looked up in the lexicon below, else it is matched with the labels themselves. "not" and
"no" turn the next word's weights round; "less" turns them round by half, "very" and "more" double
them. The lexicon names labels that were measured to mean something to listeners (see
docs/models.md): AudioSet's own "Happy music", for one, does not tell joy.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import numpy as np

from catalog.snapshot import Snapshot
from catalog.tracks import Float32
from ranker.errors import WordsError
from ranker.picks import Context, Pick, Reason
from ranker.settings import RankingSettings
from ranker.terms import own_tags

#: word → "label" or "label*weight", the labels as AudioSet and MTG-Jamendo spell them.
LEXICON: Final[Mapping[str, str]] = {
    "sad": "Sad music, sad, melancholic",
    "melancholy": "melancholic, sad, Sad music*0.5",
    "nostalgic": "melancholic, retro*0.5, emotional*0.5",
    "tender": "Tender music, soft, romantic*0.5",
    "lullaby": "Lullaby, Tender music*0.5, soft*0.5",
    "soft": "soft, calm, Tender music*0.5",
    "gentle": "soft, calm, Tender music*0.5",
    "calm": "calm, relaxing, soft*0.5",
    "quiet": "calm, soft",
    "relaxed": "relaxing, calm",
    "chill": "relaxing, calm, Chillout",
    "peaceful": "calm, meditative, relaxing",
    "meditative": "meditative, calm, New-age music*0.5",
    "sleepy": "calm, meditative, Lullaby*0.5, Ambient music*0.5",
    "dreamy": "dream, Ambient music*0.5, soft*0.5",
    "dream": "dream, Ambient music*0.5",
    "ambient": "Ambient music, meditative*0.5, space*0.5, deep*0.5",
    "space": "space, Ambient music*0.5",
    "late": "calm*0.5, deep*0.5",
    "night": "deep*0.7, dream*0.5, calm*0.5",
    "rainy": "melancholic*0.7, calm*0.7, soft*0.5",
    "happy": "happy, fun*0.7, upbeat*0.7, positive*0.7",
    "joyful": "happy, energetic*0.5, positive, upbeat",
    "cheerful": "happy, fun, upbeat",
    "fun": "fun, happy, party*0.5",
    "funny": "funny, fun, children*0.3",
    "energetic": "energetic, fast*0.5, sport*0.5",
    "upbeat": "upbeat, energetic, happy*0.5",
    "workout": "sport, energetic, motivational",
    "running": "sport, energetic, fast*0.5",
    "party": "party, Dance music, groovy*0.5, energetic*0.5",
    "dance": "Dance music, party*0.5, groovy*0.5, Electronic dance music",
    "groovy": "groovy, Funk*0.7, cool*0.5",
    "funky": "Funk, groovy",
    "cool": "cool, groovy*0.5",
    "powerful": "powerful, Angry music*0.5, heavy*0.5, epic*0.5",
    "angry": "Angry music, heavy, Heavy metal*0.5",
    "heavy": "heavy, Heavy metal, Angry music*0.5",
    "aggressive": "Angry music, heavy, powerful*0.5",
    "dark": "dark, deep*0.5, drama*0.5, Scary music*0.5",
    "scary": "Scary music, dark",
    "tense": "Techno*0.3, drama, action*0.7, Exciting music*0.3, dark*0.5",
    "exciting": "Exciting music, action, energetic*0.5",
    "dramatic": "dramatic, drama, epic*0.7, trailer*0.5",
    "epic": "epic, powerful*0.5, trailer*0.7, Orchestra*0.5",
    "cinematic": "film, soundscape*0.5, epic*0.7, drama*0.5, Soundtrack music*0.5",
    "adventurous": "adventure, action*0.5, epic*0.5",
    "romantic": "romantic, love, Tender music*0.5",
    "love": "love, romantic",
    "sexy": "sexy, groovy*0.5",
    "summer": "summer, holiday*0.5, happy*0.5, Reggae*0.3",
    "christmas": "Christmas music, christmas, Jingle bell*0.5",
    "inspiring": "inspiring, uplifting, hopeful",
    "hopeful": "hopeful, inspiring*0.5, positive",
    "uplifting": "uplifting, inspiring*0.5, upbeat*0.5",
    "fast": "fast, energetic*0.7",
    "slow": "slow, calm*0.5, ballad*0.5",
    "retro": "retro, Disco*0.3",
    "acoustic": "Acoustic guitar, Guitar*0.7, Folk music*0.5, Piano*0.3",
    "electronic": "Electronic music, Synthesizer, Techno*0.5, House music*0.5",
    "techno": "Techno, Electronic music*0.5",
    "house": "House music, Electronic dance music*0.5",
    "trance": "Trance music, Electronic dance music*0.5",
    "drum'n'bass": "Drum and bass, Jungle*0.5",
    "rock": "Rock music, Electric guitar*0.5, Rock and roll*0.5",
    "metal": "Heavy metal, Grunge*0.3, heavy*0.5",
    "punk": "Punk rock, Grunge*0.5",
    "jazz": "Jazz, Swing music*0.5, Saxophone*0.3, Double bass*0.3",
    "blues": "Blues, Electric guitar*0.3",
    "folk": "Folk music, Acoustic guitar*0.5, Traditional music*0.5",
    "country": "Country, Bluegrass, Steel guitar, slide guitar*0.5",
    "classical": "Classical music, Orchestra, String section*0.5",
    "orchestral": "Orchestra, Classical music, String section, Symphony*0.5",
    "strings": "String section, Violin, fiddle, Cello, Bowed string instrument",
    "piano": "Piano, Electric piano*0.3, Keyboard (musical)*0.5",
    "guitar": "Guitar, Acoustic guitar*0.7, Electric guitar*0.7",
    "organ": "Organ, Electronic organ*0.5, Hammond organ*0.5",
    "choir": "Choir, Chant*0.5, A capella*0.5",
    "vocal": "Singing, Vocal music, Female singing*0.5, Male singing*0.5",
    "singing": "Singing, Vocal music",
    "instrumental": "Singing*-1, Vocal music*-0.7, Rapping*-0.7",
    "rap": "Rapping, Hip hop music",
    "hip-hop": "Hip hop music, Rapping*0.5",
    "reggae": "Reggae, Dub*0.5",
    "chiptune": "Video game music, game, Chirp tone*0.5, Synthesizer*0.3",
    "game": "Video game music, game",
    "children": "children, Music for children*0.7, Children playing*0.2",
}

_TURNS: Final[Mapping[str, float]] = {
    "not": -1.0, "no": -1.0, "without": -1.0, "less": -0.5, "more": 2.0, "very": 2.0,
    "slightly": 0.5,
}  # fmt: skip
_LOOK_AHEAD: Final = 50
_FILLERS: Final = frozenset(("a", "and", "the", "for", "with", "to", "of", "music", "songs", "in"))


def profile(words: str, snapshot: Snapshot) -> dict[str, Float32]:
    """Weights (n_labels,) float32 per tag group, for the labels that the words stand for.

    Raises:
        WordsError: the snapshot has no tags, or no word is known.
    """
    if not snapshot.tag_groups:
        raise WordsError(
            f"the model {snapshot.model.name} gives no tags to match words with: embed with"
            " efficientat-mn04 (`segue models pull`, extra `torch`)"
        )
    wanted: dict[str, float] = defaultdict(float)
    unknown: list[str] = []
    turn = 1.0
    labels = {label.lower() for group in snapshot.tag_groups.values() for label in group.labels}
    for word in re.findall(r"[\w'&-]+", words.lower()):
        if word in _TURNS:
            turn *= _TURNS[word]
            continue
        if word in _FILLERS:
            continue
        entries = _entries(word, labels)
        if not entries:
            unknown.append(word)
        for label, weight in entries.items():
            wanted[label] += turn * weight
        turn = 1.0
    weights = {
        name: np.array([wanted.get(label.lower(), 0.0) for label in group.labels], np.float32)
        for name, group in snapshot.tag_groups.items()
    }
    if not any(np.any(w) for w in weights.values()):
        shown = ", ".join(unknown) or words.strip() or "nothing"
        raise WordsError(
            f"none of these words says how music sounds: {shown}; try words such as"
            f" {', '.join(sorted(LEXICON)[::9])}"
        )
    return weights


def rank_words(
    words: str,
    snapshot: Snapshot,
    context: Context,
    settings: RankingSettings,
    count: int,
) -> list[Pick]:
    """The `count` rows that answer the words best, one per recording, artists spaced.

    A row's score is the weighted mean of its z-scores on the labels meant, clipped at ±3 each,
    so that one freak score does not win.
    """
    weights = profile(words, snapshot)
    score = np.zeros(snapshot.n, np.float32)
    total = sum(float(np.abs(w).sum()) for w in weights.values())
    for name, w in weights.items():
        z = np.clip(np.asarray(snapshot.tag_groups[name].scores, np.float32), -3, 3)
        score += (z @ w) / np.float32(total)  # (n, t) @ (t,) -> (n,)
    allowed = np.ones(snapshot.n, np.bool_) if context.eligible is None else context.eligible.copy()
    allowed[list(context.excluded)] = False
    order = np.lexsort((np.arange(snapshot.n), -score))
    left = [int(row) for row in order if allowed[row]]
    picks: list[Pick] = []
    recordings: set[int] = set()
    artists: dict[int, int] = defaultdict(int)

    def value(row: int) -> float:
        return float(score[row]) - settings.artist_repetition * artists[int(snapshot.artist[row])]

    while left and len(picks) < count:
        # A further song of an artist gives way to a near equal among the next few.
        row = max(left[:_LOOK_AHEAD], key=value)
        left.remove(row)
        recording, artist = int(snapshot.recording[row]), int(snapshot.artist[row])
        if recording in recordings:
            continue
        if recording >= 0:
            recordings.add(recording)
        penalty = float(score[row]) - value(row)
        if artist >= 0:
            artists[artist] += 1
        picks.append(_word_pick(snapshot, weights, row, float(score[row]), penalty))
    return picks


def _word_pick(
    snapshot: Snapshot, weights: Mapping[str, Float32], row: int, score: float, penalty: float
) -> Pick:
    meant = {
        label: z
        for name, group in snapshot.tag_groups.items()
        for label, z in own_tags(group, row).items()
        if weights[name][group.labels.index(label)] > 0
    }
    best = sorted(meant, key=lambda label: -meant[label])[:3]
    text = ", ".join(best) if best else "nearest to the words, none of them strongly"
    reasons = [Reason("words", score, text)]
    if penalty:
        reasons.append(Reason("artist_repetition", -penalty, "artist came just before"))
    return Pick(row, sum(reason.value for reason in reasons), tuple(reasons))


def _entries(word: str, labels: set[str]) -> dict[str, float]:
    text = LEXICON.get(word)
    if text is None:
        # "violin" → the labels that have it as a word, as "Violin, fiddle".
        own = [label for label in labels if word in re.findall(r"[\w'&-]+", label)]
        return dict.fromkeys(own, 1.0)
    entries: dict[str, float] = {}
    for item in _split(text, labels):
        label, _, weight = item.partition("*")
        entries[label.strip().lower()] = float(weight or 1)
    return entries


def _split(text: str, labels: set[str]) -> list[str]:
    # Some labels have a comma of their own ("Violin, fiddle"): join what only together is one.
    parts = [part.strip() for part in text.split(",")]
    joined: list[str] = []
    while parts:
        part = parts.pop(0)
        if parts and f"{part}, {parts[0].partition('*')[0]}".lower() in labels:
            part = f"{part}, {parts.pop(0)}"
        joined.append(part)
    return joined
