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
    """
    two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen twenty dozen
    """
)
QUANTIFIERS = _words(
    """
    some several many few multiple various numerous all both countless more most other lots
    """
)
NEGATIVE_DETERMINERS = _words("no each every any either neither such what whatever enough")
POSSESSIVES = _words("his her its their my your our whose")
PRONOUNS = _words(
    """
    it they he she him them i we you one ones something someone anything nothing everything everyone
    itself himself herself themselves us me others who's it's he's she's they're hers theirs what
    """
)
RELATIVES = _words("which that who whom where")
BE = _words("is are was were be been being isn't aren't am 's")
HAVE = _words("has have had having")
AUXILIARIES = _words(
    """
    can could may might must will would shall should do does did cannot can't doesn't don't
    """
)
CLAUSE_WORDS = _words(
    """
    while as when because if although though but so whereas since until unless whereby then than yet nor
    except despite unlike like due besides whether how why rather
    """
)
OTHER_PREPOSITIONS = _words(
    """
    to for from about without during after before off out up down per via into onto upon than beyond
    along
    """
)

POSITION_VERBS = _words(
    """
    sit stand lie lay rest hang lean perch float hover tower loom rise grow stretch extend run appear
    remain sprawl dangle protrude project jut emerge peek kneel crouch squat wait pose graze sleep swim
    flow nestle climb cling droop drape spread wind curve slope descend ascend bend arch drift sail fly
    walk jump reside reach overhang live dwell look lead ride drive surf ski roll splash burst pour hide
    recline huddle wade sunbathe dock
    """
)
"""Base forms of verbs that say where their subject is when a relation follows."""

POSITION_PARTICIPLES = _words(
    """
    placed positioned located situated seated parked hung mounted perched set laid stacked arranged
    displayed suspended installed built planted scattered spread draped nestled tucked gathered grouped
    centered centred painted printed written carved engraved drawn embedded affixed leaned leant propped
    visible seen shown pictured present docked anchored moored stationed sprinkled piled pressed
    sandwiched strewn lodged stuck plastered inscribed etched stamped sewn embroidered depicted wedged
    sprawled lit grown crouched curled poised balanced found observed tied wrapped rested rooted dotted
    pinned taped glued posted clipped hidden clustered kept stored laying
    """
)
"""Participles and adjectives that, after a form of be or right after a noun, leave the relation to what follows."""

RELATING_VERBS = {
    verb: f"{verb}es" if verb.endswith(("s", "ch")) else f"{verb}s"
    for verb in _words(
        """
        surround encircle support enclose flank border overlook cover overlap touch face contain encompass span cross
        top frame line block obscure overhang envelop
        """
    )
}
"""Verbs that relate two things in space, base and third person. Some forms are nouns as well."""

OTHER_VERBS = _words(
    """
    show feature hold wear look have carry depict display include contain capture create add give make
    take use seem provide reflect suggest indicate play ride eat watch enjoy push pull touch open close
    lead go come cast throw catch hit swing drive bring get keep let put point turn read say see view
    smile wave work talk speak drink cook serve cut form fill match complement contrast highlight allow
    help hide reveal emphasize enhance evoke convey focus engage begin end start stop continue separate
    connect attach join blend bear contribute consist belong exist occupy dominate accentuate adorn
    decorate obscure block shine illuminate reach resemble become happen need want prepare try move pass
    shade approach enter leave cross follow accompany vary range taper transition fade merge mark draw
    paint imply exude boast sport celebrate observe gaze stare face grip clutch grasp lift raise lower
    cling fit span divide split house host offer describe represent invite radiate sway bloom sparkle
    gleam glow flicker emit support introduce balance curve meander tilt tuck wrap lay set bask blow
    burn overlap surround cover encircle frame border line flank top wink roll skate ski surf snowboard
    dig fall drop pick hug kiss lick chew bite sniff bark pet feed stir pour slice chop fry bake mix
    wash brush comb dry clean wipe slant punctuate delineate scatter hint stick stroke define bisect
    smooth expand rush recede guide meet angle progress culminate peter mean accent filter poke flop
    manage signify sweep mend curl mimic disappear complete spell peer determine constitute intersect
    receive maneuver protect position converge trail stream glisten shimmer cascade stem sprout peel
    pierce echo anchor ensure remind resonate unfold foster blanket permeate envelop bathe drench soak
    carpet dot pepper mirror counter oppose offset underscore denote signal symbolize evolve transform
    intertwine weave mesh bind fasten secure pin clip park store stack pile pack load haul tow drag rake
    mow trim prune plant harvest gather collect inspect examine check test measure repair fix assemble
    build construct design craft carve sculpt engrave print type write sing dance perform march parade
    race compete score pitch bat dribble shoot aim toss juggle spin twirl leap hop skip crawl creep
    sneak stroll wander roam hike trek row paddle float dive splash shower shave yawn stretch relax
    lounge nap dream listen hear smell taste cool heat warm freeze melt boil steam smoke grill roast
    toast differ remain feel sound grow shrink shoulder greet shake clap cheer wait await expect hope
    plan decide choose select buy sell pay shop order deliver deposit retrieve tend aid assist care
    nurse cradle comfort embrace snuggle cuddle nuzzle guard patrol chase hunt fish trap scare flee
    escape exit board arrive depart travel commute ferry transport accommodate seat dine sip nibble
    devour gobble munch lap suck mingle clash coordinate pair team tie wreath crown cap head tail rim
    edge hem fringe consume dwarf eclipse shield hinder skew twist
    """
)
"""Base forms of verbs that do not by themselves place anything."""

ADVERBS = _words(
    """
    also just very slightly still only even quite almost together away apart forward backward forwards
    backwards upwards downwards upward downward outward inward outwards inwards too well here now not
    never always often sometimes perhaps maybe else instead further farther closer ahead aside somewhat
    rather overall sideways once again diagonally vertically horizontally however additionally meanwhile
    thus therefore furthermore moreover notably evenly neatly probably likely outdoors indoors
    side-by-side underwater midway halfway beyond afar straight alone
    """
)

ADJECTIVES = _words(
    """
    red blue green yellow purple brown black white grey gray pink tan beige cream golden silver violet
    teal navy maroon turquoise magenta cyan ivory crimson scarlet lavender bronze off-white multicolored
    multicoloured colored coloured colorful colourful light-colored dark-colored dark light bright pale
    deep vivid vibrant dull faded big small large little tiny huge giant massive enormous tall short
    long high low wide narrow thin thick broad slim slender rounded rectangular circular triangular
    curved straight flat sharp pointed pointy cylindrical spherical conical square- shaped hexagonal
    octagonal arched angled slanted sloped steep vertical horizontal diagonal parallel old new young
    modern vintage antique ancient rustic traditional contemporary wooden metallic woolen leafy grassy
    rocky sandy snowy muddy dusty wet dry clean dirty shiny glossy matte smooth rough soft hard fluffy
    furry hairy bald bare empty full open closed broken clear cloudy blurry blurred visible transparent
    translucent opaque left right upper lower front rear back top bottom middle central center main
    other same different similar various single double triple multiple first second third fourth fifth
    final another entire whole partial half many several upper-left upper-right lower-left lower-right
    beautiful pretty cute nice fancy simple plain decorative ornate elegant intricate detailed delicate
    stylish casual formal sleek sturdy heavy light-weight strong weak hot cold warm cool fresh ripe raw
    cooked fried lush dense sparse outdoor indoor outer inner external internal nearby distant far near
    close adjacent busy crowded quiet calm peaceful serene tranquil cozy comfortable spacious sunny
    bright-colored dim shadowy shady foggy hazy misty stormy overcast american british chinese japanese
    european african asian italian french german english spanish russian indian mexican greek roman
    gothic victorian egyptian male female adult elderly human older younger larger smaller bigger taller
    shorter longer wider lighter darker higher largest smallest tallest foremost leftmost rightmost
    topmost uppermost lowest highest nearest closest solid striped spotted checkered checked plaid
    floral patterned textured polka-dotted dotted woven knitted stained paved tiled carpeted cobbled
    wrinkled crumpled folded torn worn rusted rusty weathered chipped cracked polished painted unpainted
    furnished electric electrical electronic digital mechanical plastic-wrapped ceramic porcelain
    concrete residential commercial industrial urban rural suburban tropical coastal public private
    royal military own few much bushy thorny spiky jagged uneven irregular regular symmetrical mature
    baby dead alive happy sad serious smiling focused relaxed playful curious alert ready aware unique
    special unusual common typical standard usual possible certain specific particular prominent
    noticeable evident apparent subtle slight minimal thick-framed mid-sized medium-sized life-sized
    oversized miniature mini compact petite chubby fat skinny muscular barefoot shirtless topless blonde
    blond brunette redheaded bearded freckled lit unlit illuminated fenced gated wired framed unframed
    mounted hanging natural artificial fake real toy wild domestic domesticated native organic rich
    creamy crispy crunchy juicy golden- fizzy frothy frosted iced additional extra remaining separate
    individual identical matching opposite corresponding respective upside-down overhanging neighboring
    neighbouring adjoining winding sprawling towering looming flowing rolling swirling tan-
    cream-colored lone solitary sole stray larger-than-life expansive neutral well-lit faint gentle
    indistinct distinct dynamic askew eye-level out-of-focus moody wavy asleep airborne blank murky able
    ajar handwritten thematic curvilinear diminutive bold aerial lumpy absent sporadic fuzzy pleasant
    scenic vast dramatic informal ideal reflective rainy shallow earthy abstract wispy wintry fiery
    curly stark silky stocky robust whimsical futuristic minimalist monochrome monochromatic neon
    fluorescent incandescent ambient diffuse harsh lacy gauzy sheer cross-country late early unclear
    non-uniform close-cut architectural superficial burnt dominant moderate complete essential twisty
    knobby chunky stubby stumpy slick slippery greasy oily waxy leathery velvety satiny cottony woolly
    feathery scaly slimy sticky gooey mushy soggy damp moist humid arid barren fertile verdant bountiful
    abundant plentiful scarce rare aged historic historical classic classical retro old-fashioned
    old-style up-to-date state-of-the-art high-tech hi-tech free-standing freestanding built-in
    wall-mounted two-story three-story multi-story multistory single-story high-rise low-rise two-lane
    multi-lane two-tiered multi-tiered one-way double-decker open-air full-length half-open half-full
    ready-made orange amber khaki burgundy mauve lilac fuchsia aqua indigo ochre rust rust-colored
    charcoal ebony jet-black snow-white sky-blue dark-brown light-brown reddish yellowish greenish
    bluish brownish whitish blackish greyish grayish purplish pinkish orangish rosy strawberry-blonde
    curly-haired long-haired short-haired middle-aged teenage teenaged elderly-looking plump
    broad-shouldered barefooted bare-chested clean-shaven well-dressed masked unmasked helmeted
    uniformed wooden-framed stone-paved brick-paved tree-lined grass-covered snow-covered snow-capped
    ice-covered moss-covered ivy-covered dust-covered sun-lit sunlit moonlit shaded unshaded backlit
    candlelit dimly-lit brightly-lit tasty delicious yummy savory spicy sour bitter sugary salty buttery
    cheesy meaty fruity leafless evergreen deciduous coniferous wooded forested hilly mountainous craggy
    rugged pebbly gravelly marshy swampy stony mossy weedy overgrown unkempt tidy neat messy cluttered
    disheveled orderly organized vacant occupied unoccupied deserted abandoned derelict dilapidated
    ruined intact undamaged pristine spotless immaculate brand-new secondhand used unused spare
    extra-large supersized jumbo king-sized queen-sized bite-sized hand-held handheld portable mobile
    stationary fixed movable adjustable foldable collapsible tight loose snug baggy fitted long-sleeved
    short-sleeved sleeveless strapless hooded buttoned unbuttoned zipped unzipped red-roofed
    white-painted cheerful joyful gleeful somber gloomy solemn pensive thoughtful attentive bored tired
    sleepy drowsy weary energetic lively active inactive idle motionless still steady shaky wobbly
    lopsided crooked straightforward complex complicated sophisticated refined luxurious opulent lavish
    modest humble shabby ragged tattered worn-out frayed moth-eaten threadbare patchy spotty freckly
    blotchy mottled dappled speckled marbled grainy silvery coppery brassy brick-red blue-green
    blue-gray blue-grey gray-blue grayish-white black-and-white red-and-white blue-and-white
    green-and-white yellow-and-black white-and-blue focal inset recessed elevated raised lowered
    extended outstretched inverted reversed slotted perforated ribbed ridged grooved fluted beveled
    tapered scalloped pleated ruffled fringed quilted tufted padded cushioned upholstered potted stuffed
    bronze-colored muted mirrored peaked pitched layered upright overhead random indiscernible
    """
)

PARTS_OF_PERSONS = _words(
    """
    hand hands arm arms leg legs foot feet head heads face faces eye eyes ear ears nose mouth hair neck
    shoulder shoulders chest back knee knees lap finger fingers thumb wrist elbow elbows waist hip hips
    chin cheek cheeks forehead beard mustache moustache skin body bodies tongue teeth tail paw paws wing
    wings fur mane snout muzzle beak feathers horn horns toe toes ankle ankles torso belly stomach palm
    palms ponytail bangs eyebrows lips hooves hoof claws whiskers shadow shadows silhouette silhouettes
    """
)
CLOTHING = _words(
    """
    shirt shirts t-shirt t-shirts tshirt pants jeans trousers shorts skirt dress dresses suit suits
    jacket jackets coat coats sweater sweaters hoodie hoodies vest vests hat hats cap caps helmet
    helmets glove gloves scarf shoes shoe boots boot sandals sneakers socks sock glasses sunglasses
    goggles tie ties uniform uniforms outfit outfits clothes clothing attire apparel costume costumes
    swimsuit bikini wetsuit gown robe robes apron blouse top tops jersey jerseys tuxedo overalls
    leggings tights belt watch bracelet necklace earring earrings ring rings mask masks gear headscarf
    bandana headband visor sari kimono turban hijab tank-top polo backpack
    """
)
PERSONS = _words(
    """
    person people man men woman women boy boys girl girls child children kid kids baby babies toddler
    toddlers player players rider riders surfer surfers skier skiers snowboarder skateboarder
    skateboarders batter catcher umpire pitcher referee spectator spectators pedestrian pedestrians
    passenger passengers driver drivers lady ladies gentleman gentlemen guy guys individual individuals
    adult adults teenager teenagers couple family crowd audience worker workers chef chefs waiter
    waitress officer officers soldier soldiers cyclist cyclists motorcyclist bicyclist biker bikers
    student students teacher bride groom mother father son daughter brother sister friend friends
    onlooker onlookers bystander bystanders jockey farmer fisherman athlete athletes musician musicians
    singer guitarist drummer photographer photographers model skater skaters runner runners customer
    customers shopper shoppers tourist tourists visitor visitors cowboy policeman policemen firefighter
    firefighters swimmer swimmers beachgoer beachgoers
    """
)

PICTURES = _words(
    """
    image picture photo photograph frame shot scene view photography composition snapshot close-up
    closeup capture viewpoint screenshot image's picture's photo's photograph's frame's shot's scene's
    composition's
    """
)
"""Words for the picture itself."""

VAGUE_HEADS = _words(
    """
    side sides edge edges top bottom left right center centre middle corner corners end ends front back
    rear part parts portion portions half halves section sections area areas piece pieces one ones other
    others rest thing things object objects item items element elements detail details kind kinds type
    types sort lot lots bit number amount variety range series bunch majority way ways manner style
    styles pattern patterns color colors colour colours hue hues shade shape shapes size form forms
    light lighting reflection background foreground distance view point points line lines row rows
    direction angle position presence sense feel feeling touch atmosphere ambiance ambience mood vibe
    tone effect contrast texture place places space spaces spot spots location setting scenery
    environment surroundings scene level base tip height length width depth layer layers content
    contents time times day night morning evening afternoon moment activity event action motion movement
    glow glare brightness darkness weather stuff addition total variation variations mix mixture blend
    combination array assortment collection arrangement difference example instance case word words
    letter letters text numbers name names title upper lower interior exterior perspective outside
    inside first second third two three four focus display evidence appearance use indication order
    alignment interplay relationship tension harmony balance distinction interaction conversation bond
    connection comparison scale proportion symmetry
    """
)
"""Heads that name nothing in particular unless an of-phrase says what of."""

NOT_PLACES = _words(
    """
    color colors colour colours focus detail details fire time day night morning evening afternoon
    summer winter spring autumn fall season daylight daytime nighttime sunlight moonlight light darkness
    shade dark shape size style way manner pattern patterns order motion action use place general
    addition total contrast fact turn case design tone tones process progress preparation harmony unison
    love charge search need mind mood position formation direction directions front back shades variety
    varieties number numbers appearance nature bloom flight midair mid-air air mid-flight mid-swing
    mid-jump mid-stride distance sight view field-of-view angle black white hue hues quality clarity
    length height width depth attire clothing costume uniform fashion conversation play work duty
    display sale offer side sides top thought poses pose stance posture stages condition form forms part
    parts line lines row rows circle pairs pair group groups cluster clusters bunch pile half pieces
    slices words letters font lettering script language english uppercase lowercase capital capitals
    text moment event occasion vacation trip weather rain wind composition perspective experience
    activity activities game match sport middle center foreground background image picture photo
    photograph scene frame shot hand hands mouth teeth lap arms eyes face serve swing jump stride leap
    dive trick stunt performance throw pitch catch kick race parade ceremony wedding party meal storm
    renovation construction audience competition contest festival
    """
)
"""Heads after `in`, `on`, `at` ... that make no place of the phrase."""

SINGULARS_IN_S = _words(
    """
    glass grass bus canvas dress cactus lens chess tennis gas compass mattress process iris series brass
    moss cross fortress harness octopus hibiscus eucalyptus citrus fungus walrus hippopotamus rhinoceros
    platypus virus circus campus status waitress actress princess goddess boss pass class mass mess loss
    press kiss abyss atlas christmas asparagus cosmos trellis chassis debris hummus molasses bass
    """
)
OTHER_PARTICIPLES = _words(
    """
    made worn held bent torn broken hidden known taken caught thrown driven cast born
    """
)
DOUBLING_VERBS = _words(
    "sit run swim jut put cut set get hit hug dig dot wrap skip flip spin tip drop chop stir pet begin let hop clap"
)
"""Verbs that double their last letter before -ing."""
COMPOUND_ENDS = _words("shaped colored coloured sized like style styled tone print free toned wide tall long high")

PLURALS = _words(
    """
    people men women children feet teeth mice geese cattle police policemen gentlemen firemen fishermen
    """
)

NOUNS_IN_LY = _words(
    """
    family fly belly lily jelly ugly curly woolly silly lovely friendly elderly early daily butterfly
    italy supply assembly bully holly ally dolly trolly monthly weekly lonely chilly hilly bubbly
    """
)
NOUNS_LIKE_PARTICIPLES = _words(
    """
    bed shed sled seed weed reed feed steed hundred breed moped bobsled flatbed riverbed seabed embed
    bunkbed ceiling building wing king ring string spring thing railing clothing lighting awning siding
    wiring flooring bedding frosting icing topping dressing stuffing pudding evening morning earring
    wedding paneling lettering writing drawing landing crossing parking swing sling darling duckling
    seedling sapling dumpling opening coating ceilings buildings rigging scaffolding decking molding
    moulding trimming piping fencing shelving seating shading markings marking styling living dining
    washing sewing cutting painting filling lining offspring plumbing tubing matting setting packaging
    housing wording binding backing netting paving dwelling carving engraving lightning steering
    shadowing detailing handwriting weathering roofing labeling coupling speed need deed bleed creed
    greed tweed planting baking packing
    """
)
UNITS_OF_THINGS = _words(
    """
    pair group set row bunch cluster piece stack pile herd flock crowd line collection slice bowl cup
    glass plate bottle basket vase box bag can jar pot tray block strip patch sheet pool body range
    string stretch field couple bouquet bundle loaf clump mound ball roll pack layer coil team series
    ring circle wall bank expanse chunk
    """
)
"""Heads of "a group of people": singular or plural, and asked for by what they are made of."""
NOUN_OR_VERB_FORMS = _words(
    """
    stands rests runs walks waits poses curves slopes bends arches spreads drifts sails flies perches jumps drives rides
    rolls looks leads winds drapes surfs skis splashes bursts hides docks lays
    """
)
"""Third persons of position verbs that are plural nouns as well."""
NAMELESS_HEADS = _words(
    """
    part parts portion portions bit bits kind kinds sort sorts type types glimpse hint sense lack
    absence rest alignment interplay relationship tension harmony balance distinction interaction help
    aid use view sight
    """
)
"""Heads that name nothing, whatever follows."""

NOUN_OR_ADJECTIVE = _words(
    """
    light square round orange human individual adult baby front back top bottom middle center dark
    native left right plain
    """
)
"""Adjectives that are nouns where no noun follows."""

TELLING_VERBS = _words(
    """
    leaning hanging towering looming rising growing stretching extending running dangling protruding projecting
    jutting emerging peeking grazing swimming flowing climbing clinging drooping spreading winding curving sloping
    descending ascending bending arching drifting sailing flying walking jumping reaching overhanging looking leading
    riding driving surfing skiing rolling splashing bursting pouring hiding wading
    """
)
"""Position verbs that say more than a place: questions keep them."""

PATH_VERBS = _words(
    """
    stretching extending running leading reaching winding curving flowing sloping projecting protruding jutting looking
    rising spreading pouring
    """
)
"""Position verbs whose place is where something goes, not where it is."""

PLACING_PARTICIPLES = _words("located placed parked positioned situated seated")
NOT_WITH_IN = _words("wrapped draped tied painted printed written drawn lit depicted framed shown gathered")
"""Participles after which "in" is about manner more than place."""

DIRECTIONS = _words("left right forward forwards backward backwards upward upwards downward downwards away")
ORDINALS = _words("another other second third fourth additional more same similar")
"""Words that set a thing apart from one of the same name."""
