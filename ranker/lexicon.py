"""What words mean in tags: 300 and more words and phrases, each the labels that they stand for.

Labels are spelled as AudioSet and MTG-Jamendo spell them. They are those that were measured to
mean something to listeners (see docs/models.md): AudioSet's own "Happy music", for one, does not
tell joy. Words of one line mean the same; a label's weight is 1 unless "*" says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from catalog.kinds import LIVE, LONG, SEASONAL, SHORT, SPOKEN

#: "words, that, mean the same" → "label, label*weight".
_MEANINGS: Final = {
    # Moods
    "sad, sorrowful, mournful, crying, tearful, grief, heartbroken, heartbreak, lonely, breakup":
        "Sad music, sad, melancholic",
    "melancholy, melancholic, bittersweet, wistful, longing, blue, gloomy, moody":
        "melancholic, sad, Sad music*0.5",
    "nostalgic, nostalgia, memories, remembering": "melancholic, retro*0.5, emotional*0.5",
    "emotional, touching, moving, heartfelt": "emotional, Tender music*0.5, romantic*0.5",
    "tender, delicate, intimate, fragile": "Tender music, soft, romantic*0.5",
    "lullaby, cradle song, bedtime": "Lullaby, Tender music*0.5, soft*0.5",
    "soft, gentle, mellow, smooth, warm": "soft, calm, Tender music*0.5",
    "calm, calming, serene, tranquil, still": "calm, relaxing, soft*0.5",
    "quiet, silent, hushed, subtle": "calm, soft",
    "relaxed, relaxing, laid back, easy, easygoing, unwind": "relaxing, calm",
    "chill, chilled, chillout, downtempo, lounge, lofi, lo-fi, lo fi, low-fi, low fi":
        "relaxing, calm, groovy*0.3",
    "peaceful, peace, harmonious": "calm, meditative, relaxing",
    "meditative, meditation, zen, yoga, mindful, spa, massage, healing":
        "meditative, calm, New-age music*0.5, relaxing*0.5",
    "sleepy, sleep, sleeping, drowsy, dozing": "calm, meditative, Lullaby*0.5, Ambient music*0.5",
    "dreamy, dream, dreaming, ethereal, hazy, floating, airy": "dream, Ambient music*0.5, soft*0.5",
    "ambient, drone, atmospheric, atmosphere": "Ambient music, meditative*0.5, space*0.5, deep*0.5",
    "deep, immersive": "deep, Ambient music*0.5",
    "happy, glad, good mood, feel good, feelgood, smiling":
        "happy, fun*0.7, upbeat*0.7, positive*0.7",
    "joyful, joyous, jubilant, ecstatic, euphoric, celebration":
        "happy, energetic*0.5, positive, upbeat",
    "cheerful, merry, jolly, bright, sunny, playful, bouncy": "happy, fun, upbeat",
    "positive, optimistic": "positive, hopeful, upbeat*0.5",
    "fun": "fun, happy, party*0.5",
    "funny, comic, silly, quirky, goofy, humorous, wacky": "funny, fun, children*0.3",
    "energetic, energy, lively, vigorous, dynamic, high energy, pumped":
        "energetic, fast*0.5, sport*0.5",
    "upbeat, peppy, perky": "upbeat, energetic, happy*0.5",
    "powerful, strong, mighty, intense, massive": "powerful, Angry music*0.5, heavy*0.5, epic*0.5",
    "angry, anger, furious, rage, hateful": "Angry music, heavy, Heavy metal*0.5",
    "heavy, hard, loud, crushing": "heavy, Heavy metal, Angry music*0.5",
    "aggressive, brutal, violent, fierce, raw": "Angry music, heavy, powerful*0.5",
    "dark, sinister, ominous, brooding, grim, bleak, gothic, evil":
        "dark, deep*0.5, drama*0.5, Scary music*0.5",
    "scary, creepy, horror, eerie, spooky, haunting, haunted, halloween": "Scary music, dark",
    "mysterious, mystery, mystic, enigmatic": "dark*0.7, dream*0.5, soundscape*0.7, deep*0.5",
    "tense, tension, suspense, suspenseful, nervous, anxious, thriller":
        "drama, action*0.7, dark*0.7, Scary music*0.5, Exciting music*0.3",
    "exciting, thrilling, excited, adrenaline": "Exciting music, action, energetic*0.5",
    "dramatic, drama, theatrical, tragic": "dramatic, drama, epic*0.7, trailer*0.5",
    "epic, heroic, grand, majestic, triumphant, victory, glorious":
        "epic, powerful*0.5, trailer*0.7, Orchestra*0.5",
    "cinematic, film, movie, soundtrack, score":
        "film, soundscape*0.5, epic*0.7, drama*0.5, Soundtrack music*0.5",
    "adventurous, adventure, quest, journey, exploring": "adventure, action*0.5, epic*0.5",
    "romantic, romance, passionate, candlelight": "romantic, love, Tender music*0.5",
    "love, loving, wedding, valentine": "love, romantic",
    "sexy, sensual, seductive": "sexy, groovy*0.5",
    "cool, stylish, hip": "cool, groovy*0.5",
    "inspiring, inspirational, inspired": "inspiring, uplifting, hopeful",
    "hopeful, hope": "hopeful, inspiring*0.5, positive",
    "uplifting, elevating": "uplifting, inspiring*0.5, upbeat*0.5",
    "motivational, motivating, motivation": "motivational, energetic*0.5, inspiring*0.5",
    "spiritual, sacred, religious, holy": "meditative, Christian music*0.5, Choir*0.5, Chant*0.5",
    "trippy, psychedelic": "Psychedelic rock, dream*0.5, space*0.5",
    # Scenes
    "late, evening, dusk, twilight": "calm*0.5, deep*0.5",
    "night, midnight, nocturnal": "deep*0.7, dream*0.5, calm*0.5",
    "late night, after hours": "deep, dream*0.5, calm*0.7, dark*0.3",
    "morning, sunrise, dawn, breakfast, waking up": "calm*0.5, hopeful*0.5, positive*0.5, soft*0.5",
    "rainy, rain, autumn, fall, november": "melancholic*0.7, calm*0.7, soft*0.5",
    "winter, snow, snowy, cold": "melancholic*0.5, soft*0.5, dream*0.5",
    "summer, beach, holiday, vacation, tropical":
        "summer, holiday*0.5, happy*0.5, Reggae*0.3",
    "christmas, xmas, santa, carol, carols, noel, yule, yuletide":
        "Christmas music, christmas, Jingle bell*0.5",
    "drive, driving, road trip, highway": "travel, cool*0.5, energetic*0.5, Electric guitar*0.3",
    "night drive, synthwave, neon": "Synthesizer*0.7, retro*0.5, deep*0.5, Electronic music*0.5",
    "travel, travelling, train": "travel, adventure*0.5",
    "study, studying, focus, concentration, reading, work, working, office, coding":
        "calm*0.7, background*0.7, Ambient music*0.5, Singing*-0.5, relaxing*0.5",
    "background, elevator": "background, calm*0.5, corporate*0.3",
    "dinner, dinner party, cocktail party, dining, restaurant, coffee, cafe, café":
        "Jazz*0.7, relaxing*0.7, soft*0.5, Piano*0.3",
    "bar, pub": "Jazz*0.5, Blues*0.5, Rock music*0.3",
    "workout, gym, exercise, training, fitness": "sport, energetic, motivational",
    "running, run, jogging, cardio, cycling": "sport, energetic, fast*0.5",
    "sport, sports": "sport, energetic*0.5",
    "party, partying, club, clubbing, nightclub": "party, Dance music, groovy*0.5, energetic*0.5",
    "dance, dancing, dancefloor, danceable":
        "Dance music, party*0.5, groovy*0.5, Electronic dance music",
    "space, cosmic, stars, galaxy, sci-fi, science fiction": "space, Ambient music*0.5",
    "nature, forest, ocean, sea, waves, river, mountains": "nature, Ambient music*0.5, calm*0.5",
    "documentary": "documentary, background*0.5",
    "action, chase, fight, battle, boss, war":
        "action, energetic*0.5, epic*0.5, Exciting music*0.5",
    "medieval, tavern, fantasy, celtic, pirate":
        "Folk music*0.7, Traditional music*0.7, adventure*0.5, Harp*0.3, Flute*0.3",
    "western, cowboy, desert": "Country*0.7, Acoustic guitar*0.5, Steel guitar, slide guitar*0.5",
    "children, kids, nursery, toddler": "children, Music for children*0.7, Children playing*0.2",
    "game, games, gaming, video game, videogame": "Video game music, game",
    "menu, title screen": "Video game music*0.7, background*0.5, calm*0.5",
    "carnival, circus, fair": "fun*0.5, Accordion*0.5, Brass instrument*0.5, funny*0.5",
    "church, cathedral": "Organ, Choir*0.7, Chant*0.5",
    "march, military, parade": "Brass instrument, Snare drum*0.7, Drum roll*0.5, epic*0.3",
    # Energy, tempo, sound
    "fast, quick, rapid, speedy, uptempo, up-tempo": "fast, energetic*0.7",
    "slow, slowly, low tempo, unhurried": "slow, calm*0.5, ballad*0.5",
    "ballad, ballads, power ballad": "ballad, romantic*0.5, slow*0.5",
    "groovy, groove": "groovy, Funk*0.7, cool*0.5",
    "melodic, melodious, tuneful": "melodic",
    "rhythmic, percussive, beats, beat": "Drum kit*0.7, Drum*0.7, Percussion, Drum machine*0.5",
    "acoustic, unplugged": "Acoustic guitar, Guitar*0.7, Folk music*0.5, Piano*0.3",
    "electronic, electronica, synthetic":
        "Electronic music, Synthesizer, Techno*0.5, House music*0.5",
    "noisy, noise, experimental, abstract, weird": "soundscape*0.5, Theremin*0.3",
    "distorted, distortion, fuzzy": "Distortion, Electric guitar, heavy*0.5",
    "soundscape, soundscapes, texture, textures": "soundscape, Ambient music",
    "instrumental, wordless, no singing, no vocals": "Singing*-1, Vocal music*-0.7, Rapping*-0.7",
    "commercial, advertising, corporate": "commercial, advertising, corporate",
    # Eras
    "retro, vintage, oldschool, old-school, throwback": "retro, Disco*0.3",
    "80s, eighties, 1980s, new wave": "retro, Synthesizer*0.7, Disco*0.3, Pop music*0.3",
    "70s, seventies, 1970s": "Disco*0.7, Funk*0.7, Progressive rock*0.3, retro*0.7",
    "60s, sixties, 1960s": "Rock and roll*0.7, Psychedelic rock*0.5, retro*0.7, Soul music*0.3",
    "50s, fifties, 1950s, rockabilly": "Rock and roll, Swing music*0.5, retro*0.7",
    "90s, nineties, 1990s": "Grunge*0.5, Trance music*0.5, Techno*0.5, Hip hop music*0.5",
    "baroque, renaissance, early music, harpsichord": "Harpsichord, Classical music, Organ*0.3",
    "8-bit, 8 bit, 8bit, 16-bit, 16 bit, 16bit, chiptune, chip tune, chip, gameboy, game boy,"
    " arcade, pixel":
        "Video game music, game, Chirp tone*0.5, Synthesizer*0.3",
    "futuristic, future, cyberpunk": "space, Electronic music*0.7, Synthesizer*0.7, dark*0.3",
    # Instruments and voices
    "piano, keys, pianist": "Piano, Electric piano*0.3, Keyboard (musical)*0.5",
    "electric piano, rhodes": "Electric piano, Keyboard (musical)*0.5",
    "guitar, guitars": "Guitar, Acoustic guitar*0.7, Electric guitar*0.7",
    "acoustic guitar, fingerpicking, fingerstyle": "Acoustic guitar, Guitar*0.5",
    "electric guitar, riff, riffs, guitar solo": "Electric guitar, Rock music*0.3",
    "steel guitar, slide guitar": "Steel guitar, slide guitar",
    "bass, bassline": "Bass guitar, Double bass*0.3",
    "double bass, upright bass, contrabass": "Double bass, Jazz*0.3",
    "drums, drum, drummer, drumming": "Drum, Drum kit, Snare drum*0.5",
    "percussion": "Percussion, Drum*0.7, Tabla*0.3",
    "strings, string section, string quartet":
        "String section, Violin, fiddle, Cello, Bowed string instrument",
    "violin, fiddle": "Violin, fiddle, Bowed string instrument*0.5",
    "cello": "Cello, Bowed string instrument*0.5",
    "harp": "Harp",
    "flute, recorder, whistle": "Flute, Wind instrument, woodwind instrument*0.5",
    "clarinet, oboe, bassoon, woodwind, woodwinds":
        "Wind instrument, woodwind instrument, Clarinet",
    "saxophone, sax": "Saxophone, Jazz*0.3",
    "trumpet": "Trumpet, Brass instrument*0.7",
    "brass, horns, horn, trombone, tuba":
        "Brass instrument, Trombone*0.7, French horn*0.7, Trumpet*0.7",
    "organ, hammond": "Organ, Electronic organ*0.5, Hammond organ*0.5",
    "synth, synths, synthesizer, synthesiser, moog": "Synthesizer, Electronic music*0.5",
    "accordion, polka, musette": "Accordion",
    "banjo, bluegrass": "Banjo, Bluegrass, Country*0.3",
    "mandolin": "Mandolin, Plucked string instrument*0.5",
    "ukulele, hawaiian": "Ukulele, Plucked string instrument*0.5",
    "sitar, raga, indian": "Sitar, Tabla*0.7, Carnatic music*0.7, Music of Asia*0.5",
    "bells, bell, glockenspiel, chimes, celesta, music box":
        "Bell, Glockenspiel, Chime, Mallet percussion*0.5",
    "marimba, xylophone, vibraphone": "Marimba, xylophone, Mallet percussion, Vibraphone*0.7",
    "harmonica": "Harmonica, Blues*0.3",
    "bagpipes, bagpipe": "Bagpipes",
    "orchestral, orchestra, symphonic, symphony, philharmonic":
        "Orchestra, Classical music, String section",
    "choir, choral, chorus, chorale": "Choir, Chant*0.5, A capella*0.5",
    "vocal, vocals, voice, sung": "Singing, Vocal music, Female singing*0.5, Male singing*0.5",
    "singing, singer": "Singing, Vocal music",
    "female voice, female vocals, woman singing": "Female singing, Singing*0.5",
    "male voice, male vocals, man singing": "Male singing, Singing*0.5",
    "acapella, a cappella, beatbox": "A capella, Beatboxing*0.5",
    # Styles
    "techno, minimal": "Techno, Electronic music*0.5",
    "house, deep house": "House music, Electronic dance music*0.5",
    "trance, goa": "Trance music, Electronic dance music*0.5",
    "dubstep, wobble": "Dubstep, Electronic dance music*0.5",
    "edm, rave": "Electronic dance music, Techno*0.5, Trance music*0.5",
    "drum'n'bass, drum and bass, dnb, jungle, breakbeat": "Drum and bass",
    "disco": "Disco, Dance music*0.5",
    "rock, rocking, rocky": "Rock music, Electric guitar*0.5, Rock and roll*0.5",
    "hard rock, classic rock": "Rock music, Electric guitar, heavy*0.3",
    "indie, alternative": "Independent music*0.7, Rock music*0.5, Pop music*0.5",
    "prog, progressive, progressive rock": "Progressive rock, Rock music*0.3",
    "metal, heavy metal, thrash, metalcore": "Heavy metal, Grunge*0.3, heavy*0.5",
    "punk, hardcore, grunge": "Punk rock, Grunge*0.5",
    "pop, poppy, catchy": "Pop music, upbeat*0.3, happy*0.3",
    "jazz, jazzy, bebop": "Jazz, Swing music*0.5, Saxophone*0.3, Double bass*0.3",
    "swing, big band": "Swing music, Jazz*0.5, Brass instrument*0.5",
    "blues, bluesy": "Blues, Electric guitar*0.3",
    "soul, soulful, motown": "Soul music, Rhythm and blues*0.7",
    "r&b, rnb": "Rhythm and blues, Soul music*0.5",
    "funky, funk": "Funk, groovy",
    "gospel": "Gospel music, Choir*0.5, Christian music*0.5",
    "folk, folky, singer-songwriter": "Folk music, Acoustic guitar*0.5, Traditional music*0.5",
    "country, americana": "Country, Bluegrass, Steel guitar, slide guitar*0.5",
    "traditional, world, ethnic": "Traditional music, Folk music*0.5",
    "latin, salsa, bossa, bossa nova, samba":
        "Music of Latin America, Salsa music, Acoustic guitar*0.3",
    "flamenco, spanish": "Flamenco, Acoustic guitar*0.5",
    "african, afrobeat": "Music of Africa, Afrobeat, Percussion*0.3",
    "oriental, arabic, middle eastern": "Middle Eastern music, Music of Asia*0.5",
    "asian, japanese, chinese": "Music of Asia",
    "classical, chamber, sonata": "Classical music, Orchestra, String section*0.5",
    "opera, aria, operatic": "Opera, Vocal music*0.5",
    "rap, rapping, rapper": "Rapping, Hip hop music",
    "hip-hop, hiphop, hip hop, trap": "Hip hop music, Rapping*0.5",
    "reggae, dub, ska": "Reggae, Ska*0.5",
    "new age, new-age": "New-age music, meditative*0.5",
    "industrial, mechanical": "Techno*0.5, dark*0.5, heavy*0.5",
}  # fmt: skip

#: Each word or phrase → its meaning. Phrases are found before the words they consist of.
LEXICON: Final[Mapping[str, str]] = {
    word.strip(): meaning for words, meaning in _MEANINGS.items() for word in words.split(",")
}

#: Words and phrases that ask for a kind of track (`catalog.kinds`), which comes only if asked for.
KINDS: Final[Mapping[str, int]] = {
    word.strip(): kind
    for kind, words in (
        (SEASONAL, "christmas, xmas, santa, carol, carols, noel, yule, yuletide, seasonal"),
        (SPOKEN, "audiobook, audiobooks, audio book, spoken, spoken word, speech, talk, talking,"
                 " narration, narrated, narrator, podcast, podcasts, lecture, radio play"),
        (LIVE, "live, concert, in concert, live recording, on stage"),
        (SHORT, "intro, intros, outro, skit, skits, interlude, interludes"),
        (LONG, "dj mix, dj set, mixtape, long mix, continuous mix, megamix, hour long"),
    )
    for word in words.split(",")
}  # fmt: skip

#: The longest phrase, in words.
LONGEST: Final = max(len(phrase.split()) for phrase in (*LEXICON, *KINDS))
