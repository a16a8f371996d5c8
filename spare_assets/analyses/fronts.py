"""Which things have a front, and so a left and a right, of their own: word lists, and the thing a phrase is about.

Only words and reading the noun of a phrase belong here. What frame of reference follows is `frames_of_reference`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from spare_assets.engines.rule_based.lexicon import CLOTHING, PARTS_OF_PERSONS, PERSONS
from spare_assets.engines.rule_based.phrases import singular

Kind = Literal["viewer", "picture", "being", "fronted", "pronoun", "sideless"]
"""What a phrase is about. `being`: it faces somewhere and is spoken of by its own left and right: people, animals,
vehicles. `fronted`: it has a front, but its left is as often the viewer's: furniture, buildings, devices. `pronoun`:
it can't be told. `sideless`: no side but the one it is seen from."""


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


VIEWERS = word_set("viewer observer camera photographer viewers observers us me you beholder lens cameraman")
PICTURES = word_set("image picture photo photograph frame shot scene view composition snapshot")
BODY_PARTS = PARTS_OF_PERSONS | word_set("forearm calf thigh forepaw foreleg shin temple nostril eyebrow")
WORN = CLOTHING | word_set("sleeve sleeves cuff pocket pockets earring mitten slipper heel lapel strap")
BEINGS = PERSONS | word_set(
    """
    animal bear bird boar bull bunny calf camel cat cattle chick chicken cow crab crow deer dinosaur dog dolphin donkey
    dragonfly duck eagle elephant fish flamingo fox frog giraffe goat goose gorilla hawk hen heron hippo horse insect
    kangaroo kitten kitty lamb leopard lion lioness lizard llama mandrill monkey moose mouse mule owl ox panda parrot
    peacock pelican penguin pig pigeon pony puppy rabbit raccoon raven rat rhino rooster seagull seal shark sheep snail
    snake sparrow spider squirrel stork swan tiger tortoise toucan turkey turtle whale wolf zebra ape beetle butterfly
    bee cheetah alligator crocodile iguana hamster hedgehog ostrich
    human figure character doll statue bust mannequin marionette scarecrow snowman robot teddy dragon angel god saint
    car truck bus van taxi suv sedan pickup jeep lorry tractor train tram locomotive engine bicycle bike motorcycle
    motorbike scooter moped skateboard vehicle boat ship ferry yacht sailboat kayak canoe airplane plane aircraft jet
    helicopter wagon carriage cart trailer ambulance limousine tank bulldozer excavator forklift trolley minivan
    someone somebody
    """
)
FRONTED = word_set(
    """
    chair armchair bench sofa couch recliner loveseat throne stool seat bed crib dresser cabinet cupboard wardrobe
    bookcase bookshelf shelf desk drawer drawers nightstand refrigerator fridge oven stove microwave dishwasher washer
    dryer television tv monitor computer laptop phone telephone radio speaker console keyboard piano printer toilet
    sink urinal fireplace clock
    building house home church cathedral chapel temple mosque cottage cabin castle palace barn garage shed hut shop
    store restaurant hotel museum station theater theatre school apartment mansion villa kiosk stall
    storefront stadium hospital library booth stage altar elevator
    toy plush plushie sculpture figurine head mask helmet shoe shoes sneaker boot house's
    """
)
_OTHERWISE = frozenset(("flower bed", "river bed", "garden bed", "truck bed", "street face", "rock face", "cliff face"))
"""Names that end in a word with a front and have none."""
VEHICLE_PARTS = word_set(
    """
    wheel wheels headlight headlights tire tires taillight fender bumper pedal hubcap bow stern hood
    windshield
    """
)
_PRONOUNS = word_set(
    "it them him her itself themselves himself herself each one other another this that these those both"
)
_GROUPS = word_set("group pair row couple set line crowd number herd flock stack pile bunch team lot side rows two")
_DETERMINERS = word_set(
    "the a an this that these those some several many two three four five his her its their my our your"
)
_STOPS = word_set(
    """
    of in on at with without and or but that which who whose where is are was were be to from by near behind under above
    below beside between as while for into onto over past through along across toward towards against around inside next
    than if has have does do so it's not when very visible located
    """
)
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)?'?|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Words and punctuation marks of a text in lower case; words joined by a hyphen are apart."""
    return _TOKEN.findall(text.lower().replace("’", "'").replace("-", " "))


def phrase_at(words: Sequence[str], start: int) -> list[str]:
    """The words of the noun phrase that begins at `start`; of "a group of people", the people."""
    found: list[str] = []
    for place in range(start, len(words)):
        word = words[place]
        if not found and word in _DETERMINERS:
            continue
        if word == "of" and found and found[-1] in _GROUPS:
            found = []
            continue
        if word in _STOPS or not word[0].isalnum():
            break
        found.append(word)
    # "the car parked", "the man sitting": what follows a noun is no part of its name.
    while len(found) > 1 and found[-1].endswith(("ed", "ing")) and _kind_of(found[-1]) == "sideless":
        found.pop()
    return found


def kind_at(words: Sequence[str], start: int) -> Kind | None:
    """What the phrase that begins at `start` is about; None where none begins there."""
    if start < len(words) and words[start] in _PRONOUNS | VIEWERS:
        pointing = words[start] in _DETERMINERS | {"each", "other", "another", "both", "one", "her"}
        if not pointing or not phrase_at(words, start + 1):
            return "viewer" if words[start] in VIEWERS else "pronoun"
    phrase = phrase_at(words, start)
    return kind_of_phrase(phrase) if phrase else None


def kind_of_phrase(phrase: Sequence[str]) -> Kind:
    """What a phrase is about, by its last word: of "the dog's head" the head, which is the dog's."""
    kind = _kind_of(phrase[-1])
    if kind == "viewer" and len(phrase) > 1:
        return "sideless"  # "a security camera" is seen, not looked through
    if " ".join(phrase[-2:]) in _OTHERWISE:
        return "sideless"
    if kind == "sideless" and phrase[-1] in VEHICLE_PARTS:
        return "fronted"
    if kind in ("fronted", "sideless") and phrase[-1] in BODY_PARTS:
        return "being"
    return kind


def _kind_of(word: str) -> Kind:
    for name in _forms(word):
        if name in VIEWERS:
            return "viewer"
        if name in PICTURES:
            return "picture"
        if name in BEINGS:
            return "being"
        if name in FRONTED:
            return "fronted"
    return "sideless"


def _forms(word: str) -> Iterator[str]:
    yield word
    yield word.removesuffix("'s").removesuffix("'")
    yield singular(word)
    yield word.removesuffix("s")
