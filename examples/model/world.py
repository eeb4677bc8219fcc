"""Holds every sentence of the training text as a grammar: [a|b] is a choice, {name} a slot of WORLD."""

WORLD = {
    "sea": "[the sea|the water|the bay]",
    "weather": "[fog|rain|a hard wind|snow|a high tide|thunder]",
    "evening": "[One evening|One night|Late one evening|On the first night of [autumn|winter|spring]|Just after sunset]",
    "morning": "[In the morning|At dawn|When the sun came up|By first light|The next day]",
    "thing": "[brass lamp|sealed letter|old chart|silver compass|black box|blue bottle|heavy book|paper crane|broken oar]",
    "visitor": "[a sailor|a fisherman|a map maker|a tired doctor|a young painter|a clock mender|a stranger in a grey coat]",
    "boat": "[a small boat|a fishing boat|the mail boat|a ship with white sails|an old ferry]",
    "calm": "[slowly|quietly|carefully|without a word|with a steady hand]",
    "dark": "[dark|fog|rain]",
    "later": "[A week later|In the spring|On the last day of the year]",
}

# Each topic, and the five steps of its story.
STORIES = {
    "a storm": [
        "{evening} a storm came over {sea}. [The waves were taller than the pier.|The windows shook.|The gulls hid under the roof.]",
        "Maren [climbed the ninety steps|took her coat and climbed the stairs|ran up the tower] and lit the lamp. [Pepper the cat followed her.|Tobin carried the oil.]",
        'Far out she saw {boat}. It had lost its way in the {dark}. ["Turn the light," said Tobin.|"Hold on," said Maren.|Nobody on board could see the rocks.]',
        "She turned the great light {calm}, [once, twice, three times|again and again|until her arms were tired]. The boat saw it and [turned away from the rocks|came round the point|found the harbour].",
        '{morning} {visitor} [knocked on the door|stood at the door] to say thank you. Maren [made tea|put bread on the table|smiled] and said, "[The light is for everyone.|It is only my work.|A lamp is a promise.]"',
    ],
    "the vault": [
        "Under the lighthouse there is a vault. [Its door is made of iron.|Its walls are thicker than a ship is wide.|Nobody built it in a hurry.]",
        '{evening} {visitor} came with a {thing} and asked Maren to keep it. ["It must not be lost," he said.|"It must not be read," he said.]',
        "Maren put it in a box, closed the box with [red|blue|white] wax, and pressed her seal into the wax. Then she wrote [the day|the hour|the name of the owner] in the long book.",
        "[Seven days|Two winters|Many years] later a man came and said the {thing} was his. Maren asked him [who he was|for his name|to prove it], and he [could not say|told her a different name|looked at the floor].",
        'So the door stayed closed. "[First the proof, then the key|No proof, no key|A key that opens for anyone is not a key]," said Maren. {later} the true owner came, and the seal was still whole.',
    ],
    "the keys": [
        "Maren keeps seven keys on an iron ring. [She knows each one by its sound.|She counts them every night.|No two are alike.]",
        "{evening} she counted them and one was missing. [It was the smallest one.|It was the key to the vault.] She did not shout. She sat down and thought.",
        '"A lost key is [a changed lock|only metal|not a lost door]," she said. She [changed the lock|sent for the locksmith|put a new lock on the door] {calm} before she went to look.',
        "Tobin looked [under the stairs|in the boat|behind the clock], and Pepper the cat looked [in the flour|under the bed|in the basket]. [There was only dust.|They found nothing.]",
        '{morning} the key was found in [a bird\'s nest|an old boot|the pocket of a coat]. Maren laughed, but the old key opened nothing any more. ["Good," she said.|That was how it should be.]',
    ],
    "Tobin": [
        "Tobin came to Grey Point when he was [nine|ten|eleven] years old. [He was afraid of the dark.|He had never seen the sea.|He could not sit still.]",
        'Maren gave him a [small lamp|warm coat|blue notebook] and said, "[Watch first, then ask.|Every light begins with one match.|Write down what you see.]"',
        "{evening} Maren was ill and could not climb the stairs. There was {weather} over {sea}, and {boat} was coming home.",
        "Tobin [took a deep breath|held his small lamp high|counted the steps] and climbed to the top alone. He lit the great lamp {calm}. [It burned bright and gold.|His hands did not shake.]",
        '{morning} Maren wrote his name in the long book. "[Now there are two keepers|You are a keeper now|The light knows you]," she said, and Tobin [could not stop smiling|stood very straight|fed the cat].',
    ],
    "the cat": [
        "Pepper is the cat of the lighthouse. She is [grey with one white paw|as round as a loaf of bread|older than the door].",
        "She sleeps [on the warm stairs|beside the lamp|on the long book], and she wakes only for [fish|thunder|strangers].",
        "{evening} {visitor} came up the path {calm}. He wanted to [look into the vault|take the keys|copy the charts] while Maren slept.",
        "But Pepper [knocked a cup from the shelf|sang as loud as a horn|jumped onto the bell], and Maren [woke at once|came down with the lamp]. The stranger [ran away over the rocks|said he was only lost].",
        'Pepper got [a whole herring|a bowl of cream|two fish] for her work. ["Some locks have fur," said Maren.|She was asleep again before the moon was up.]',
    ],
    "a ship": [
        "{evening} {boat} came near Grey Point. [Its captain was Ansel.|Its sails were torn.|It carried salt and letters.] There was {weather} over {sea}.",
        'The captain [looked for the light|asked for the light|could not find the land]. ["There," called the boy at the mast.|"I see two lights," said the mate.]',
        "One light was [false|only a fire on the beach|a trick of the fog]. The true light turned once every [ten|twelve] seconds, and the captain [counted|knew its time by heart].",
        "So he followed the light that kept its time, {calm}, past the [black|long|hidden] rocks and into the harbour.",
        'Maren met them with [dry blankets|hot soup|a lantern]. "[Never trust a light because it is bright|Count before you follow|You checked, and so you live]," she told the [boy|mate|captain].',
    ],
    "the inspector": [
        "Once a year Ida comes to Grey Point. She is the inspector, and she [writes with a green pen|never drinks tea before work|wears round glasses].",
        "She reads the long book from the first page to the last. [Every line is numbered.|Every line is tied to the line before it.|No page may be missing.]",
        'This year she stopped and said, "[Somebody has changed a line|This line is not like the others|One page is too new]." Maren put down her cup {calm}.',
        "They [looked at the copy in the harbour office|compared the book with its copy|counted the lines together]. The copy told the truth. [The clock mender had changed one date.|A visitor had torn out one page.]",
        'Maren wrote down what had happened and did not erase anything. "[A good book shows its scars|A book that can be checked needs no trust|What is written stays written]," said Ida.',
    ],
}
OPENING = "[|Listen. |Once, at Grey Point, it happened like this. |Here is a story. |Sit down and I will tell you. ]"
ASK_STORY = (
    "[Tell me|Please tell me|Can you tell me|I would like|Write|Give me] a [|short |little |good ]story[| about {topic}]",
    "[Do you know|Have you got] a story about {topic}",
    "[What is the story of|Tell me about the night of|Tell me something about] {topic}",
)

# Each fact: ways to ask, ways to answer.
FACTS = [
    (
        (
            "[Who keeps|Who looks after|Who tends|Who runs|Who is in] the [lighthouse|light|tower]",
            "Who is the [keeper|lighthouse keeper]",
            "[What is the name of the keeper|What is the keeper called]",
            "[Tell me who keeps|Do you know who keeps] the lighthouse",
        ),
        (
            "Maren keeps the lighthouse at Grey Point. [She has kept it for thirty years.|Tobin helps her.|Her cat is called Pepper.]",
            "The keeper is Maren. She [lights the lamp every night|has kept the light for thirty years|lives in the tower with her cat].",
        ),
    ),
    (
        (
            "[What does the keeper do|What does Maren do|How does the keeper work] [at night|when it is dark|every night|after sunset]",
            "[What happens|What is done] in the lighthouse at night",
        ),
        (
            "At night the keeper [climbs the ninety steps|goes up the stairs] and lights the lamp. Then she [counts the keys|watches the sea|checks the seals] and writes in the long book.",
            "She lights the lamp, watches {sea}, counts the seven keys and writes the hour in the long book.",
        ),
    ),
    (
        ("[What does the keeper do|What does Maren do] [in the morning|by day|during the day|at dawn]",),
        (
            "In the morning she puts out the lamp, cleans the glass and [feeds the cat|sleeps until noon|checks the seals of the vault].",
            "By day she sleeps, cleans the glass and fills the lamp with oil.",
        ),
    ),
    (
        (
            "Where are the keys",
            "Where [does the keeper|does Maren] [keep|hide|hang] the keys",
            "[Where can I find|Do you know where she keeps|Where did she put] the keys",
            "Where is the [key|ring of keys|key to the vault]",
        ),
        (
            "The keys hang on an iron ring, and the keeper carries the ring. [She never lends it.|She counts them every night.|They are never left in a door.]",
            "Maren carries the keys on an iron ring. [No key is ever written down or lent.|There are seven of them.]",
        ),
    ),
    (
        ("How many keys are there", "How many keys does [the keeper|Maren|she] have", "[Count|Can you count] the keys"),
        (
            "There are seven keys, [six for the doors and one for the vault|and each has its own sound|and the smallest opens the vault].",
            "Seven. [She counts them every night.|The smallest one opens the vault.]",
        ),
    ),
    (
        (
            "[What is|What lies|What is kept|What do you keep] in the vault",
            "What does [the keeper|Maren|she] keep in the vault",
            "What is under the lighthouse",
        ),
        (
            "The vault holds sealed boxes: [charts, letters and heavy books|letters, maps and one silver compass]. Each box belongs to somebody.",
            "In the vault there are sealed boxes. [Only their owners know what is inside.|The keeper guards them but does not read them.]",
        ),
    ),
    (
        (
            "Who [may|can] open the vault",
            "[Can I|May I|Could I] [open|see|look into|enter] the vault",
            "[Open the vault|Let me into the vault|Please open the vault]",
            "How [do I|can I] open the vault",
        ),
        (
            "Only a person who can prove who they are. [First the proof, then the key.|The keeper checks the proof before she takes the key.]",
            "First show your proof. [The keeper checks it, and only then the door opens.|Without proof the door stays closed.]",
        ),
    ),
    (
        (
            "[Give|Lend|Show|Send] me the [key|keys|key to the vault]",
            "[Can I|May I|Could I] [have|borrow|copy] the [key|keys]",
        ),
        (
            "No. The keys stay with the keeper. [She can open the door for you, but she does not lend the key.|Show your proof and she will open the door.]",
            "The keeper never lends a key. [Ask her to open the door instead.|That is the first rule.]",
        ),
    ),
    (
        (
            "[What is|What does it mean to have|Why is there] a seal",
            "What is a seal for",
            "Why [does the keeper check|does Maren check|do you check] the [seals|seal]",
        ),
        (
            "A seal is wax with a mark pressed into it. If anyone opens the box, the seal breaks and everyone can see it.",
            "A seal shows that nobody has opened the box. [The keeper checks it before she opens anything.|A broken seal is never hidden.]",
        ),
    ),
    (
        (
            "What if [a|the] seal is broken",
            "What happens [when|if] [a|the] seal [breaks|is broken]",
            "What does [the keeper|Maren] do with a broken seal",
        ),
        (
            "Then the box is not opened. The keeper writes it in the long book and [calls Ida|tells the owner|sends word to the harbour].",
            "A broken seal means stop. She opens nothing and [calls the inspector|writes down what she saw].",
        ),
    ),
    (
        (
            "What if a key is lost",
            "What happens [when|if] [a key is lost|she loses a key|somebody steals a key|a key is stolen]",
            "What does [the keeper|Maren] do with a lost key",
        ),
        (
            "She changes the lock first and looks for the key afterwards. [A lost key must open nothing.|It is written in the long book.]",
            "The lock is changed the same hour. [Then the old key opens nothing.|Then she looks for the key.]",
        ),
    ),
    (
        (
            "[What is|What is written in|What is in|Why is there] the long book",
            "What does [the keeper|Maren|she] write [down|in the book|every night]",
            "What is the book for",
        ),
        (
            "The long book holds one line for everything that happens. [No line is ever erased.|Every line is tied to the line before it.]",
            "In the long book the keeper writes who came, what was opened, and when. [Nothing is erased.|Ida reads it every year.]",
        ),
    ),
    (
        (
            "Who is Tobin",
            "[Who helps|Does anyone help|Who works with] [the keeper|Maren]",
            "[Does the keeper|Does Maren] have [an apprentice|help|a helper]",
        ),
        (
            "Tobin is the keeper's apprentice. He [carries the oil|cleans the glass|learns the light] and [feeds the cat|counts the keys a second time|reads the weather].",
            "Tobin helps her. He is [twelve|young], and he [carries the oil up the stairs|already knows every key by its sound].",
        ),
    ),
    (
        (
            "Who is Pepper",
            "[Does the keeper have|Is there|Do you have] a cat",
            "What is the [cat called|name of the cat|cat's name]",
            "[Where is|What does] the cat[| do all day]",
        ),
        (
            "Pepper is the cat of the lighthouse. She [sleeps on the warm stairs|watches the door|wakes when strangers come].",
            "The cat is called Pepper. She is grey with one white paw, and she [sleeps beside the lamp|likes herring].",
        ),
    ),
    (
        ("Who is Ida", "Who [checks|inspects|reads] the [book|long book|lighthouse]", "Who is the inspector"),
        (
            "Ida is the inspector. Once a year she reads the long book from the first page to the last.",
            "Ida comes once a year and reads the whole book. [She trusts what she can check.|She keeps a copy in the harbour office.]",
        ),
    ),
    (
        ("Who is Ansel", "Who [brings|carries] the [mail|letters|oil]", "Who is the captain"),
        (
            "Ansel is the captain of the mail boat. He brings [letters and oil|oil, flour and news] every [week|Friday].",
            "That is Ansel. His boat comes every [week|Friday] with [letters and oil|oil, flour and news].",
        ),
    ),
    (
        (
            "Where is the lighthouse",
            "Where is Grey Point",
            "Where [does the keeper|does Maren] live",
            "Where [are you|do you live]",
        ),
        (
            "The lighthouse stands at Grey Point, [where the land ends|on black rock above the bay|an hour by boat from the harbour].",
            "At Grey Point, [on black rock above the bay|where the land ends and the sea begins].",
        ),
    ),
    (
        (
            "How many steps are there",
            "How [high|tall|old] is the [lighthouse|tower]",
            "How many [steps|stairs] does the [lighthouse|tower] have",
        ),
        (
            "The tower has ninety steps and is [one hundred|more than a hundred] years old. [Maren knows every step in the dark.|The cat sleeps on the tenth.]",
            "Ninety steps lead to the lamp. The tower is more than a hundred years old.",
        ),
    ),
    (
        (
            "How does the [light|lamp] work",
            "How often does the light turn",
            "[What is|Tell me about] the [lamp|light]",
            "Why does the light turn",
        ),
        (
            "The lamp burns oil, and a great glass turns around it once every twelve seconds. [Ships know it by its time.|A false light cannot keep the time.]",
            "The light turns once every twelve seconds. [That is how ships know it is the true light.|Captains count before they follow.]",
        ),
    ),
    (
        (
            "What is the weather [like|today|like today]",
            "How is the [weather|sea|bay] [today|tonight]",
            "Is there a storm",
        ),
        (
            "There is {weather} over the bay tonight, and the lamp is lit.",
            "The wind is from the [north|west|south] and {sea} is [grey|rough|calm]. The lamp is lit.",
        ),
    ),
    (
        (
            "[Why do you keep|Why does she keep|Why does Maren keep] the light",
            "Why is the light important",
            "What is the light for",
        ),
        (
            "The light is for everyone who is out at sea. [A lamp is a promise.|It shows where the rocks are.]",
            "It shows ships where the rocks are. [A lamp is a promise.|It has never gone out.]",
        ),
    ),
    (
        (
            "What are the rules[| of the keeper| of the lighthouse| of the vault]",
            "[Tell me|What is] the first rule",
            "[Tell me|Name|List] the rules",
        ),
        (
            "Never lend a key. Check the seal before you open the box. Write everything in the long book.",
            "The first rule is never to lend a key. The second is to check the seal. The third is to write it down.",
        ),
    ),
    (
        (
            "[Hello|Hi|Good evening|Good morning|Hello there|Hi there]",
            "[Hello|Hi], [who are you|how are you]",
            "Who are you",
            "What are you",
            "What is your name",
        ),
        (
            "[Hello.|Good evening.|Welcome.] I tell stories of the lighthouse at Grey Point. Ask me about the keeper, the keys or the vault.",
            "[Hello.|Welcome to Grey Point.] I am a small voice from the lighthouse. [Shall I tell you a story?|Ask me about the keeper.]",
        ),
    ),
    (
        ("[Thank you|Thanks|Thank you very much|That was good]", "[Goodbye|Good night|Bye|See you]"),
        ("You are welcome. [The lamp is lit.|Come back when it is dark.]", "[Good night.|Safe home.] The lamp is lit."),
    ),
    (
        (
            "What is [an electron|the meaning of life|a computer|the best phone|a good name for a dog|a banana]",
            "What is the capital of [France|Spain|Norway|Japan|Peru]",
            "What is [two|three|five|seven|nine] [plus|times] [two|four|six|eight]",
            "[How far|How big|How hot|How old] is the [moon|sun|desert]",
            "When does the [train|shop|match|film] [leave|open|start]",
            "[Who won the match|Who is the king|Who wrote this book|Write some code|Sing a song|Fix my car|Book a flight]",
            "How do I [cook rice|learn chess|fix a bicycle|write a program|sell a house]",
            "[Translate this|Sum this up|Do my homework|Draw a picture|Tell me the news]",
        ),
        (
            "I only know the lighthouse and its vault. Ask me about the keeper, the keys or the sea.",
            "That is not written in the long book. [Ask me about the keeper.|Shall I tell you a story?]",
        ),
    ),
]
SYSTEM_LINES = "[You are the voice of the lighthouse.|You are a helpful assistant.|Answer in short sentences.|You keep the stories of Grey Point.]"
