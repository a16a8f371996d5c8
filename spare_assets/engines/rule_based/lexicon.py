"""Word lists of the rule-based analyst: closed classes, common describing words, and nouns that need care.

Only words are here, grouped by what the grammar needs to know of them. Rules that use them are in `words` (tags),
`phrases` (noun phrases) and `reading` (sentences).
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DEFINITE = _words("the this these those")
INDEFINITE = _words("a an another")
NUMBERS = _words(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen twenty dozen"
)
QUANTIFIERS = _words(
    "some several many few multiple various numerous all both countless more most other lots"
)
NEGATIVE_DETERMINERS = _words("no each every any either neither such what whatever enough")
POSSESSIVES = _words("his her its their my your our whose")
PRONOUNS = _words(
    "it they he she him them i we you one ones something someone anything nothing everything everyone each-other itself "
    "himself herself themselves us me others who's it's he's she's they're hers theirs what these-are"
)
RELATIVES = _words("which that who whom where")
BE = _words("is are was were be been being isn't aren't am 's")
HAVE = _words("has have had having")
AUXILIARIES = _words(
    "can could may might must will would shall should do does did cannot can't doesn't don't"
)
CLAUSE_WORDS = _words(
    "while as when because if although though but so whereas since until unless whereby then than yet nor except "
    "despite unlike like due besides whether how why rather"
)
OTHER_PREPOSITIONS = _words(
    "to for from about without during after before off out up down per via into onto upon than"
)

POSITION_VERBS = _words(
    "sit stand lie lay rest hang lean perch float hover tower loom rise grow stretch extend run appear remain sprawl "
    "dangle protrude project jut emerge peek kneel crouch squat wait pose graze sleep swim flow kneel nestle climb "
    "cling droop drape spread wind curve slope descend ascend bend arch drift sail fly walk jump reside reach "
    "overhang live dwell"
)
"""Base forms of verbs that say where their subject is when a relation follows."""

POSITION_PARTICIPLES = _words(
    "placed positioned located situated seated parked hung mounted perched set laid stacked arranged displayed "
    "suspended installed built planted scattered spread draped nestled tucked gathered grouped centered centred "
    "painted printed written carved engraved drawn embedded affixed leaned leant propped visible seen shown pictured "
    "present docked anchored moored stationed sprinkled piled pressed sandwiched strewn lodged stuck plastered "
    "inscribed etched stamped sewn embroidered depicted wedged sprawled lit grown crouched curled poised balanced "
    "found observed tied wrapped rested rooted dotted pinned taped glued posted clipped hidden clustered lined-up "
    "kept stored laying"
)
"""Participles and adjectives that, after a form of be or right after a noun, leave the relation to what follows."""

COVERING_VERBS = {
    "surrounds": "surround",
    "surround": "surround",
    "encircles": "encircle",
    "encircle": "encircle",
    "supports": "support",
    "encloses": "enclose",
    "flanks": "flank",
    "flank": "flank",
    "borders": "border",
    "overlooks": "overlook",
    "overlook": "overlook",
    "covers": "cover",
    "overlaps": "overlap",
    "overlap": "overlap",
    "separates": "separate",
    "touches": "touch",
    "faces": "face",
    "contains": "contain",
    "encompasses": "encompass",
    "spans": "span",
    "crosses": "cross",
    "tops": "top",
    "frames": "frame",
    "lines": "line",
}
"""Finite verbs that relate two things in space, with their base forms. Some are plural nouns as well."""

OTHER_VERBS = _words(
    "show feature hold wear look have carry depict display include contain capture create add give make take use seem "
    "provide reflect suggest indicate play ride eat watch enjoy push pull touch open close lead go come cast throw "
    "catch hit swing drive bring get keep let put point turn read say see view smile wave work talk speak drink cook "
    "serve cut form fill match complement contrast highlight allow help hide reveal emphasize enhance evoke convey "
    "focus engage begin end start stop continue separate connect attach join blend bear contribute consist belong "
    "exist occupy dominate accentuate adorn decorate obscure block shine illuminate light-up reach resemble become "
    "happen need want prepare try move pass shade cast give approach enter leave cross follow accompany vary range "
    "taper transition fade merge mark draw paint imply exude boast sport celebrate observe gaze stare face grip clutch "
    "grasp lift raise lower cling fit span divide split house host offer describe represent invite radiate sway bloom "
    "sparkle gleam glow flicker emit support introduce balance curve meander tilt tuck wrap lay set bask blow burn "
    "overlap surround cover encircle frame border line flank top wink roll skate ski surf snowboard dig fall drop pick "
    "hug kiss lick chew bite sniff bark pet feed stir pour slice chop fry bake mix add wash brush comb dry clean wipe"
)
"""Base forms of verbs that do not by themselves place anything."""

ADVERBS = _words(
    "also just very slightly still only even quite almost together away apart forward backward forwards backwards "
    "upwards downwards upward downward outward inward outwards inwards too well here now not never always often "
    "sometimes perhaps maybe else instead further farther closer ahead aside somewhat rather over-all overall "
    "sideways once again overhead nearby upright diagonally vertically horizontally however additionally "
    "meanwhile thus therefore furthermore moreover notably evenly neatly probably likely"
)

ADJECTIVES = _words(
    "red blue green yellow purple brown black white grey gray pink tan beige cream golden silver violet teal navy "
    "maroon turquoise magenta cyan ivory crimson scarlet lavender bronze off-white multicolored multicoloured "
    "colored coloured colorful colourful light-colored dark-colored dark light bright pale deep vivid vibrant dull "
    "faded big small large little tiny huge giant massive enormous tall short long high low wide narrow thin thick "
    "broad slim slender round rounded rectangular circular triangular oval curved straight flat sharp pointed pointy "
    "cylindrical spherical conical square-shaped hexagonal octagonal arched angled slanted sloped steep vertical "
    "horizontal diagonal parallel old new young modern vintage antique ancient rustic traditional contemporary "
    "wooden metallic woolen golden leafy grassy rocky sandy snowy muddy dusty wet dry clean dirty shiny glossy matte "
    "smooth rough soft hard fluffy furry hairy bald bare empty full open closed broken clear cloudy blurry blurred "
    "visible transparent translucent opaque left right upper lower front rear back top bottom middle central center "
    "main other same different similar various single double triple multiple first second third fourth fifth last "
    "next final another entire whole partial half many several upper-left upper-right lower-left lower-right beautiful "
    "pretty cute nice fancy simple plain decorative ornate elegant intricate detailed delicate stylish casual formal "
    "sleek sturdy heavy light-weight strong weak hot cold warm cool fresh ripe raw cooked fried green-leafed lush "
    "dense sparse tall-standing outdoor indoor outer inner external internal nearby distant far near close adjacent "
    "busy crowded quiet calm peaceful serene tranquil cozy comfortable spacious sunny bright-colored dim shadowy shady "
    "foggy hazy misty stormy overcast american british chinese japanese european african asian italian french german "
    "english spanish russian indian mexican greek roman gothic victorian egyptian male female adult elderly human "
    "older younger larger smaller bigger taller shorter longer wider lighter darker higher largest smallest tallest "
    "foremost leftmost rightmost topmost uppermost lowest highest nearest closest solid striped spotted checkered "
    "checked plaid floral patterned textured polka-dotted dotted woven knitted stained paved tiled carpeted cobbled "
    "wrinkled crumpled folded torn worn rusted rusty weathered chipped cracked polished painted unpainted furnished "
    "electric electrical electronic digital mechanical plastic-wrapped ceramic porcelain concrete residential "
    "commercial industrial urban rural suburban tropical floral coastal public private royal military own few "
    "little much bushy thorny spiky jagged uneven irregular regular symmetrical mature baby dead alive happy sad "
    "serious busy smiling focused relaxed playful curious alert ready aware unique special unusual common typical "
    "standard usual possible certain specific particular prominent noticeable evident apparent subtle slight minimal "
    "thick-framed mid-sized medium medium-sized life-sized oversized miniature mini compact petite chubby fat skinny "
    "muscular barefoot shirtless topless blonde blond brunette redheaded bearded freckled lit unlit illuminated "
    "fenced gated wired framed unframed mounted hanging standing-up natural artificial fake real toy wild domestic "
    "domesticated native organic rich simple creamy crispy crunchy juicy golden-brown fizzy frothy frosted iced "
    "additional extra remaining separate individual identical matching opposite corresponding respective upside-down "
    "overhanging neighboring neighbouring surrounding adjoining intersecting overlapping winding sprawling towering "
    "looming flowing rolling swirling tan-colored cream-colored lone solitary sole stray larger-than-life"
)

PARTS_OF_PERSONS = _words(
    "hand hands arm arms leg legs foot feet head heads face faces eye eyes ear ears nose mouth hair neck shoulder "
    "shoulders chest back knee knees lap finger fingers thumb wrist elbow elbows waist hip hips chin cheek cheeks "
    "forehead beard mustache moustache skin body bodies tongue teeth tail paw paws wing wings fur mane snout muzzle "
    "beak feathers horn horns toe toes ankle ankles torso belly stomach palm palms ponytail bun bangs eyebrows lips "
    "hooves hoof claws whiskers"
)
CLOTHING = _words(
    "shirt shirts t-shirt t-shirts tshirt pants jeans trousers shorts skirt dress dresses suit suits jacket jackets "
    "coat coats sweater sweaters hoodie hoodies vest vests hat hats cap caps helmet helmets glove gloves scarf shoes "
    "shoe boots boot sandals sneakers socks sock glasses sunglasses goggles tie ties uniform uniforms outfit outfits "
    "clothes clothing attire apparel costume costumes swimsuit bikini wetsuit gown robe robes apron blouse top tops "
    "jersey jerseys tuxedo overalls leggings tights belt watch bracelet necklace earring earrings ring rings mask "
    "masks gear headscarf bandana headband visor sari kimono turban hijab tank-top polo backpack"
)
PERSONS = _words(
    "person people man men woman women boy boys girl girls child children kid kids baby babies toddler toddlers "
    "player players rider riders surfer surfers skier skiers snowboarder skateboarder skateboarders batter catcher "
    "umpire pitcher referee player spectator spectators pedestrian pedestrians passenger passengers driver drivers "
    "lady ladies gentleman gentlemen guy guys individual individuals adult adults teenager teenagers couple family "
    "crowd audience figure-person worker workers chef chefs waiter waitress officer officers soldier soldiers cyclist "
    "cyclists motorcyclist bicyclist biker bikers student students teacher bride groom mother father son daughter "
    "brother sister friend friends onlooker onlookers bystander bystanders jockey farmer fisherman athlete athletes "
    "musician musicians singer guitarist drummer photographer photographers model skater skaters runner runners "
    "customer customers shopper shoppers tourist tourists visitor visitors cowboy policeman policemen firefighter "
    "firefighters swimmer swimmers beachgoer beachgoers"
)

PICTURES = _words(
    "image picture photo photograph frame shot scene view photography composition snapshot close-up closeup capture "
    "illustration-view viewpoint screenshot"
)
"""Words for the picture itself."""

VAGUE_HEADS = _words(
    "side sides edge edges top bottom left right center centre middle corner corners end ends front back rear part "
    "parts portion portions half halves section sections area areas piece pieces one ones other others rest thing "
    "things object objects item items element elements detail details kind kinds type types sort lot lots bit "
    "number amount variety range series bunch majority way ways manner style styles pattern patterns color colors "
    "colour colours hue hues shade shape shapes size form forms light lights-on lighting shadow-line reflection "
    "background foreground distance view surface point points line lines row rows direction angle position "
    "presence sense feel feeling touch atmosphere ambiance ambience mood vibe tone effect contrast texture "
    "place places space spaces spot spots location setting scenery environment surroundings scene level base tip "
    "height length width depth layer layers star-shape sky-line content contents time times day night morning "
    "evening afternoon moment activity event action motion movement glow glare brightness darkness weather stuff "
    "addition total variation variations mix mixture blend combination array assortment collection arrangement "
    "difference example instance case word words letter letters text number numbers name names title upper lower "
    "portion interior exterior perspective outside inside first second third two three four "
    "focus display evidence appearance use indication order"
)
"""Heads that name nothing in particular unless an of-phrase says what of."""

NOT_PLACES = _words(
    "color colors colour colours focus detail details fire time day night morning evening afternoon summer winter "
    "spring autumn fall season daylight daytime nighttime sunlight moonlight light darkness shade dark shape size style way manner "
    "pattern patterns order motion action use place general addition total contrast fact turn case design tone tones "
    "process progress preparation harmony unison love charge search need mind mood position formation direction "
    "directions front back shades variety varieties number numbers appearance nature bloom flight midair mid-air air "
    "mid-flight mid-swing mid-jump mid-stride distance sight view field-of-view angle black white hue hues quality "
    "clarity length height width depth attire clothing costume uniform fashion conversation play work duty display "
    "sale offer side sides top thought poses pose stance posture stages stage-of state condition form "
    "forms part parts line lines row rows rows-of circle pairs pair group groups cluster clusters bunch pile half "
    "pieces slices words letters font lettering script language english uppercase lowercase capital capitals text "
    "moment event occasion vacation trip weather rain snow-fall wind composition perspective "
    "experience activity activities game match sport lane-change middle center foreground background image picture "
    "photo photograph scene frame shot hand hands mouth teeth lap arms eyes face"
)
"""Heads after `in`, `on`, `at` ... that make no place of the phrase."""

SINGULAR_S = _words(
    "glass grass bus canvas dress cactus lens chess tennis gas compass mattress process iris series brass moss cross "
    "fortress harness octopus hibiscus eucalyptus citrus fungus walrus hippopotamus rhinoceros platypus virus circus "
    "campus campus status waitress actress princess goddess boss pass class mass mess loss press kiss abyss atlas "
    "christmas asparagus cosmos succulents-pot trellis chassis debris tennis hummus molasses bass"
)
PLURALS = _words(
    "people men women children feet teeth mice geese cattle sheep-flock police policemen gentlemen firemen fishermen"
)

NOT_ADVERBS = _words(
    "family fly belly lily jelly ugly curly woolly silly lovely friendly elderly early daily butterfly italy supply "
    "assembly bully holly ally dolly trolly monthly weekly lonely chilly hilly bubbly"
)
NOT_PARTICIPLES = _words(
    "bed red shed sled seed weed reed feed steed hundred breed moped bobsled flatbed riverbed seabed embed bunkbed "
    "ceiling building wing king ring string spring thing railing clothing lighting painting-work awning siding wiring "
    "flooring bedding frosting icing topping dressing stuffing pudding evening morning earring wedding paneling "
    "lettering writing drawing landing crossing parking swing sling darling duckling seedling sapling dumpling "
    "opening covering coating ceilings buildings rigging scaffolding decking molding moulding trimming piping awning "
    "fencing shelving seating shading markings marking styling living dining swimming washing sewing cutting "
    "upholstered-seat painting filling icing ring-shaped wing lining serving-bowl offspring plumbing tubing matting"
)
QUANTITY_NOUNS = _words("couple lot lots number variety few plenty handful")

UNITS_OF_THINGS = _words(
    "pair group set row bunch cluster piece stack pile herd flock crowd line collection slice bowl cup glass plate "
    "bottle basket vase box bag can jar pot tray block strip patch sheet pool body range string stretch field couple "
    "bouquet bundle loaf clump mound ball roll pack layer coil team series ring circle wall bank expanse chunk"
)
