"""The phrases that make.py composes the sample from, all written for it.

FEELINGS fill "i feel …" and the like; REACTIONS are whole clauses of a first person; SCENES show
an emotion without naming it. CONTEXTS, OPENERS and CLOSERS occur with every emotion, so that they
give nothing away.
"""

FEELINGS = {
    "sadness": """
        so alone | empty inside | hopeless about it all | really low | heartbroken | miserable
        completely drained and sad | lonely even in company | defeated | unwanted | worthless
        kind of numb | guilty for leaving | disappointed in myself | homesick | blue | broken
        like a burden | ashamed of how i acted | rejected | ignored by everyone | gloomy
        regretful | so sorry for myself | helpless | melancholy | hurt by what they said
    """,
    "joy": """
        so happy | on top of the world | proud of us | thankful | full of energy | hopeful again
        excited for what comes next | relaxed for once | lucky | cheerful | wonderful
        strangely calm and content | confident | inspired | glad i came | relieved | amused
        like dancing | optimistic | playful | successful | peaceful | thrilled | satisfied
        blessed | delighted with how it turned out | eager to start
    """,
    "love": """
        so loved | tender towards him | close to you | adored | full of affection
        devoted to my little family | like hugging everyone | warm and cared for
        romantic tonight | longing for her | fond of this old dog | cherished | sweet on you
        so in love | gentle and caring | treasured | passionate about us | loving
    """,
    "anger": """
        furious | so annoyed | irritated by every little thing | outraged | mad at all of them
        bitter about it | resentful | insulted | fed up | impatient and cranky | hateful today
        cheated | disgusted with how they treat us | frustrated beyond words | offended
        ready to snap | grumpy | jealous and angry | rude and not even sorry | enraged
    """,
    "fear": """
        so nervous | terrified | anxious about tomorrow | scared to open it | uneasy
        worried sick | shaky | insecure around them | afraid of the answer | panicky
        threatened | overwhelmed and frightened | paranoid | vulnerable | restless and tense
        unsure of everything | intimidated | pressured | alarmed by the noise | hesitant
    """,
    "surprise": """
        surprised | totally amazed | stunned | shocked in a funny way | curious all of a sudden
        speechless | dazed | astonished | caught off guard | impressed beyond belief
        blown away | weirdly amazed | bewildered | struck by how strange it is
    """,
}

REACTIONS = {
    "sadness": """
        i cried in the car before i went in | i just want to lie down and not get up
        nothing seems to matter anymore | i miss the way things were
        my heart sinks every time i think of it | i keep replaying our goodbye
        i have no tears left | i wish i had said sorry while i could | everyone moved on but me
        i lost a part of myself this year | it hurts more than i let on | i let everybody down
        the house is so quiet without her | i cannot stop crying | i gave up on it in the end
        i feel the loss all over again | the emptiness comes back at night
        i am grieving and nobody notices | i never felt so lonely in a full room
        all i do is disappoint people
    """,
    "joy": """
        i cannot stop smiling | i laughed until my belly hurt | best day in ages
        i danced around the kitchen | we finally did it and i am over the moon
        i am grinning like a fool | life is good right now | everything just clicked
        i woke up happy for the first time in weeks | i enjoyed every minute of it
        i could not have asked for a better end | my smile has not left my face
        so grateful for days like this | we celebrated until late
        i am looking forward to every bit of it | all the hard work paid off
        i have so much fun with this lot | it made my whole week
        i feel like i can do anything | what a lovely surprise free happy day
        i sang all the way home
    """,
    "love": """
        i love you more than coffee | i just want to hold your hand all day
        he still gives me butterflies | my heart is so full when she laughs
        i adore everything about him | i could look at those eyes forever
        we fell asleep holding hands | i am head over heels | you are my favourite person
        i kissed his forehead and he smiled | she means the world to me
        i miss your arms around me my darling | i fall for him again every morning
        i love my family so much it aches | there is nobody i would rather grow old with
        my sweetheart left a note in my lunch | i love these kids with all my heart
    """,
    "anger": """
        i could scream | how dare they | i slammed the door on my way out
        i am so sick of their excuses | my blood is boiling | i want my money back right now
        do not even talk to me | i swear i will quit | what a complete waste of my time
        they lied straight to my face | i hate how rude people are
        i am done being polite about it | nobody has the right to speak to me like that
        i typed a very angry reply | it makes me want to throw my phone
        he never listens and it drives me mad | stop blaming me for your mess
        i have had enough of this nonsense
    """,
    "fear": """
        my hands will not stop shaking | i did not sleep from worry | what if it all goes wrong
        i checked the lock three times | my stomach is in knots
        i am dreading the phone call | i keep imagining the worst
        i was too scared to look | my heart would not slow down | i almost ran out of the room
        i am afraid to ask | i froze and could not say a word
        i panic whenever the doctor calls | i do not feel safe walking there
        i am terrified of losing it | every noise makes me jump | i worry i will mess it up
    """,
    "surprise": """
        i did not see that coming at all | i still cannot believe it | my jaw dropped
        who would have thought | i had to read it twice | i never expected that
        wait what just happened | that came out of nowhere | i am lost for words
        how is that even possible | i nearly fell off my chair | what are the odds
        i blinked and there it was
    """,
}

SCENES = {
    "sadness": """
        they forgot my birthday again | the vet said there was nothing more to do
        my best friend moved away this morning | i ate dinner by myself for the tenth night
        her chair is still at the table | i did not get the job i had hoped for
        my application was turned down | grandpa does not remember my name anymore
        we lost in the last minute | he packed his things and left
        i found her old scarf in a box | all my plants died while i was in hospital
    """,
    "joy": """
        i passed the exam with full marks | we won the cup | the baby said her first word
        my team came back from three down | the sun is out and the whole week is free
        i got the job | they are getting married in june | the test came back clear
        my little sister learned to ride a bike | the bread came out perfect
        we got tickets for the front row | first snow and no school | my painting was chosen
    """,
    "love": """
        he drove four hours just to bring me soup | she still saves me the last slice
        my wife warmed my side of the bed | dad wrote me a letter by hand
        we have been together nine years today | the kids made us breakfast in bed
        my dog waits at the door for me every evening | he learned my language for my parents
        she fell asleep on my shoulder | our first dance song was on the radio
    """,
    "anger": """
        they charged me twice and hung up | my neighbour drilled all sunday morning
        he took the credit for my work | somebody keyed my car | they cancelled with no reason
        the bus driver saw me and drove off | my roommate ate my lunch again
        the landlord kept the whole deposit | third rude email from them this week
        she read my diary and laughed | they skipped the queue as if we were air
    """,
    "fear": """
        there are steps on the stairs and i live alone | the results come tomorrow
        the plane dropped and people screamed | the brakes did not answer at first
        a man followed me to my door | the exam is in an hour and my mind is blank
        the lump has not gone away | they are calling names for the layoffs
        the lights went out in the whole street | the dog growled and came closer
        i have to speak in front of four hundred people
    """,
    "surprise": """
        my old teacher turned up at my door after twenty years | the quiet one won the whole thing
        i found fifty dollars in a coat from last winter | it snowed in june
        my cat opened the fridge | we have the same grandmother it turns out
        they had planned a party and i knew nothing | the price was lower at the till
        the stranger on the train knew my name
    """,
}

CONTEXTS = """
    after the meeting | when i got home | on the way to work | after that phone call
    since we moved | while waiting for the bus | at my cousins wedding | during the match
    now that school is over | after two cups of coffee | in the middle of the night
    when the letter came | at the supermarket of all places | after my shift
    every time i open that app | when i saw the news | before the interview
    reading through old messages | at the dentist | when the teacher called my name
    with the kids asleep | after a week at my parents place | on this trip
    when the music started | while cleaning the garage | after the test
    sitting in the back row | because of what my boss said | with winter coming
    at the end of term | after talking to mum | when he answered the door
    during the storm | at the gym this morning | on my birthday | after the show
    when we landed | walking through my old street | since the new flatmate came
    when my sister rang | after i hit send | at the hospital with dad | in the last lecture
    with all these boxes around | after the long drive | when the waiter came back
    during dinner with his friends | since monday | on the first day at the new place
    when the team was announced | looking at the photos | after so many months
    at the station | when i read her note | over the weekend | after the update
    when the choir sang | standing in the garden | since the operation | in front of everybody
    with the deadline on friday | when my phone rang | at the parents evening
    after we talked it through | while making breakfast | when the results were read out
"""

OPENERS = """
    honestly | ok so | well | not gonna lie | you know what | right now | today | this morning
    tonight | once again | i mean | lately | update | dear diary | for what its worth
    small thing but | seriously | hey | all day | so yeah | just saying | funny how | to be fair
    long story short | quick note | no idea why but
"""

CLOSERS = """
    and it is only tuesday | and that is that | if that makes sense | as always
    and i have no idea what to do with it | thats all | anyone else | more on that later
    and my tea is cold | so here i am | and now back to work | i suppose | for real
    and i am not exaggerating | ask my brother | and the day is not over | just wanted to say it
    at least that is how it is today | and nobody around to tell | even now | once more
    and dinner is still not made | if you must know | and i do not care who knows
    like every year | and the bus is late too | thanks for reading | and so to bed
"""

TAGS = {
    "sadness": "#sad #missyou #lonely #heartbroken #badday 😢 😭 💔",
    "joy": "#happy #blessed #goodvibes #grateful #yay 😀 🎉 😄",
    "love": "#love #family #soulmate #mylove ❤️ 😍 💕",
    "anger": "#angry #fedup #rant #annoyed 😡 🤬",
    "fear": "#scared #anxiety #worried #nervous 😱 😰",
    "surprise": "#wow #omg #whoa 😮 🤯",
}
NEUTRAL_TAGS = "#monday #life #weekend #thoughts #mood #news #today 🤔 ☕ 🙂"
