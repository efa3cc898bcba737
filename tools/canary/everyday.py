"""Catalogues of everyday tools, and requests as people would write them: for training only.

The other catalogues say field and value in so many words, which no person does. Here "A table for 4 at Fadola, please."
must become {"restaurant": "Fadola", "guests": 4}: numbers stand beside units that the answer leaves out, values in
quotation marks, and what is not said is left out. Values come from the training side of `words.py`; no word of the
fixed texts is one that its lists keep for evaluation (checked by check_places.py).
"""

import dataclasses
import json
import random
import re

import six_columns_path  # noqa: F401
import six_columns
import tool_calls
from document import Document, Layout, Question
from words import Vocabulary

# One tool a paragraph: subject.name | what it does | key:kind ... (? behind the optional ones), then requests. A kind
# with slashes is an enum.
TOOLS = """
dining.reserve_table | Reserve a table at a restaurant. | restaurant:Name guests:count time:clock?
A table for {guests} at {restaurant}, please.
Reserve a table at {restaurant} for {guests} people at {time}.
{guests} of us want to eat at {restaurant}. We come at {time}.

dining.search_restaurants | Search restaurants by cuisine near a place. | cuisine:word location:Name max_price:amount?
Where can I eat {cuisine} food in {location}?
Search {cuisine} restaurants near {location} under {max_price} dollars.

travel.search_trains | Search trains between two towns. | departure:Name destination:Name date:date? time:clock?
Which trains go from {departure} to {destination}?
Is there a train from {departure} to {destination} on {date}?
I have to be on a train to {destination} at {time}, leaving {departure} on {date}.

travel.book_flight | Book a flight. | from_airport:code to_airport:code date:date passengers:count?
Book a flight from {from_airport} to {to_airport} on {date}.
Fly {passengers} passengers from {from_airport} to {to_airport} on {date}.
On {date} I fly {from_airport} - {to_airport}, book it please.

travel.distance | Compute the distance between two places. | start:Name end:Name unit:km/miles?
How far is it from {start} to {end}?
What is the distance between {start} and {end} in {unit}?

travel.hire_car | Hire a car for some days. | location:Name days:count car_type:small/medium/large?
I need a car in {location} for {days} days.
Hire a {car_type} car in {location} for {days} days.

weather.forecast | Forecast the weather of a place. | location:Name days:count? unit:celsius/fahrenheit?
Will it rain in {location}?
What will the weather be like in {location} over the next {days} days?
Show the forecast for {location} in {unit}.

money.exchange | Exchange money between two currencies. | amount:number source_currency:code goal_currency:code
Exchange {amount} {source_currency} for {goal_currency}.
How much {goal_currency} do I have for {amount} {source_currency}?
I have {amount} {source_currency} and want {goal_currency}.

money.transfer | Transfer money to a person. | recipient:Person amount:amount currency:code? memo:text?
Send {amount} dollars to {recipient}.
Transfer {amount} {currency} to {recipient}.
Pay {recipient} {amount} {currency} with the memo '{memo}'.

money.compound_interest | Compute the value of savings with compound interest. | principal:amount rate:number years:count
What do {principal} dollars become in {years} years at {rate}% interest?
Invest ${principal} for {years} years at a rate of {rate} percent.

money.tip | Compute the tip of a bill. | bill:number percent:count people:count?
How much is a {percent}% tip on a bill of ${bill}?
Split a {bill} dollar bill with {percent} percent tip among {people} people.

calendar.add_event | Add an event to the calendar. | title:Text date:date time:clock? minutes:count?
Put '{title}' into my calendar on {date}.
Add {title} on {date} at {time}.
I have {title} at {time} on {date}, it takes {minutes} minutes.

calendar.wake | Wake somebody at a time. | time:clock message:text?
Wake me at {time}.
At {time}, wake me and say '{message}'.

mail.send_message | Send a message to an address. | to:mail subject:Text body:text?
Write to {to} with the subject {subject}.
Send {to} a message about '{subject}' saying '{body}'.

phone.call | Call a person. | person:Person number:digits?
Call {person}.
Ring {person} under {number}, please.

language.translate | Translate a text into another language. | text:text language:Name
Translate '{text}' into {language}.
How do you say "{text}" in {language}?

language.define | Look up what a word means. | word:word language:Name?
What does {word} mean?
Look up the word '{word}' in {language}.

text.count_words | Count how often a word occurs in a text. | text:text word:word
How often is {word} in "{text}"?
Count '{word}' in '{text}'.

math.add_numbers | Add numbers. | numbers:integers
What is the sum of {numbers}?
Add {numbers}.

math.mean | Compute the mean of numbers. | values:integers digits:count?
Compute the average of {values}.
What is the mean of {values}, with {digits} digits?

math.sort_numbers | Sort numbers. | values:integers direction:ascending/descending?
Sort {values}.
Sort {values} in {direction} sequence.

math.power | Raise a number to a power. | base:count exponent:count
What is {base} to the power of {exponent}?
Raise {base} to {exponent}.

math.least_common_multiple | Compute the least common multiple of two numbers. | first:count second:count
What is the least common multiple of {first} and {second}?
Compute the LCM of {first} and {second}.

math.line | Solve a linear equation a x + b = c. | a:signed b:signed c:signed
Solve the equation with a={a}, b={b} and c={c}.
What is x for a = {a}, b = {b}, c = {c}?

math.polynomial | Evaluate a polynomial at a point. | expression:formula x:signed
What is {expression} at x = {x}?
Evaluate {expression} for x={x}.

geometry.rectangle_area | Compute the area of a rectangle. | width:count height:count unit:cm/inches/feet?
What is the area of a rectangle {width} wide and {height} high?
Compute the area of a rectangle with a width of {width} and a height of {height}, in {unit}.
A rectangle is {height} high and {width} wide. What is its area?

geometry.sphere_volume | Compute the volume of a sphere. | radius:number
How large is a sphere with a radius of {radius} inches?
Volume of a sphere of {radius}cm radius?

geometry.cylinder | Compute the surface of a cylinder. | radius:count height:count
What is the surface of a cylinder with radius {radius} cm and height {height} cm?
Surface of a {height}m high cylinder, radius {radius}m?

physics.speed | Compute the speed of a body. | distance:amount time:count
How quick is a car that goes {distance} km in {time} hours?
A runner covers {distance}m in {time} seconds. What is the speed?

physics.kinetic_energy | Compute the kinetic energy of a body. | mass:amount velocity:count
What energy has a body of {mass} kilograms at {velocity} m/s?
Kinetic energy of {mass}kg moving at {velocity} km/h?

physics.fall_time | Compute how long a body falls. | height:amount gravity:number?
How long does a ball fall from a {height} feet high roof?
How long does it take to fall {height}m at a gravity of {gravity} m/s^2?

physics.ohm | Compute the current through a resistor. | voltage:number resistance:amount
What current flows at {voltage} volts through {resistance} ohms?
{voltage}V at {resistance} ohm: which current?

chemistry.molar_mass | Compute the molar mass of a substance. | substance:word grams:number?
What is the molar mass of {substance}?
How many moles are {grams}g of {substance}?

health.calories | Estimate the calories that an activity burns. | activity:word minutes:count weight:count?
How many calories burn {minutes} minutes of {activity}?
I weigh {weight} kg and did {minutes} min of {activity}. How many calories was that?

health.body_fat | Estimate body fat. | age:count weight:number height:number
I am {age} years old, {weight}kg and {height}cm tall. What is my body fat?
Estimate the body fat of somebody of {age} with a weight of {weight} kilograms and a height of {height} cm.

health.dose | Compute the dose of a medicine. | medicine:Name weight:count per_kilogram:number
How much {medicine} for {weight} kg at {per_kilogram} mg per kilogram?
Dose of {medicine} with {per_kilogram}mg/kg for a patient of {weight}kg?

music.play | Play a song. | title:Text artist:Person? volume:count?
Play {title}.
Play '{title}' by {artist}.
I want to hear {title} by {artist} at volume {volume}.

movies.search_movies | Search movies. | actor:Person year:year? director:Person?
Which movies is {actor} in?
Search movies with {actor} from {year}.
Movies of the year {year} with {actor}, directed by {director}?

books.search_books | Search books. | title:Text writer:Person? year:year?
Do you have {title}?
Search '{title}' by {writer}.
I want the {year} edition of {title} by {writer}.

history.event_year | Tell in which year something happened. | event:text country:Name?
When was the {event}?
In which year did the {event} happen in {country}?

sports.match_result | Tell the result of a match. | home_team:Name away_team:Name season:year?
How did {home_team} play against {away_team}?
Result of {home_team} - {away_team} in {season}?

market.share_price | Tell the price of a share. | symbol:code currency:code?
What does a share of {symbol} cost?
Price of {symbol} in {currency}?

shop.search_products | Search products. | product:word max_price:number? colour:word?
Search a {product} that costs at most {max_price} euros.
I want a {colour} {product}.
Do you sell {product}?

shop.track_package | Track a package. | number:digits carrier:Name?
Where is my package {number}?
{carrier} should have delivered package {number}. Where is it?

home.thermostat | Change the temperature of a room. | room:word temperature:number unit:C/F?
Make it {temperature} in the {room}.
Turn the {room} to {temperature} {unit}.

home.timer | Start a timer. | minutes:count name:word?
Start a timer of {minutes} minutes.
Time my {name} for {minutes}min.

home.light | Switch a lamp. | room:word state:on/off brightness:count?
Switch the lamp in the {room} {state}.
Turn {state} the lamp in the {room} at {brightness}% brightness.

database.query | Read records of a table. | table:word column:word? max_rows:count?
Show me the table {table}.
Read at most {max_rows} records of {table}.
I need the column '{column}' of the table '{table}'.

users.create | Create a user account. | user_id:digits name:Person address:mail?
Create a user {name} with the id {user_id}.
New account: id {user_id}, name '{name}', address {address}.

code.run | Run a script. | path:path timeout:count? language:python/bash/ruby?
Run {path}.
Run the {language} script {path} for at most {timeout} seconds.

biology.species_info | Tell about a species. | species:Text habitat:word?
What do you know about {species}?
Tell me about {species} in the {habitat}.

biology.population | Project a population. | location:Name years:count growth:number?
How many people will live in {location} in {years} years?
Population of {location} in {years} years if it grows by {growth}% a year?
"""

TYPES = {"count": "integer", "amount": "integer", "year": "integer", "signed": "integer", "number": "number"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclasses.dataclass(frozen=True)
class Tool:
    """An everyday tool; kinds by key, and requests with {key} where a value stands."""

    subject: str
    name: str
    description: str
    kinds: dict[str, str]
    optional: tuple[str, ...]
    requests: tuple[str, ...]


def parse_tool(paragraph: str) -> Tool:
    """A tool of TOOLS."""
    head, *requests = paragraph.split("\n")
    name, description, keys = head.split(" | ")
    kinds = dict(key.rstrip("?").split(":") for key in keys.split())
    optional = tuple(key.split(":")[0] for key in keys.split() if key.endswith("?"))
    return Tool(*name.split("."), description, kinds, optional, tuple(requests))


def all_tools() -> list[Tool]:
    """Every tool of TOOLS."""
    return [parse_tool(paragraph) for paragraph in TOOLS.strip().split("\n\n")]


class Values:
    """Random values of each kind."""

    def __init__(self, words: Vocabulary):
        self.words = words
        self.rng = words.rng

    def make(self, kind: str) -> object:
        """A value of a kind, which the training side allows."""
        if "/" in kind:
            return self.rng.choice(kind.split("/"))
        return self.words.draw(getattr(self, kind))

    def word(self) -> str:
        return self.words.value().lower()

    def Name(self) -> str:  # noqa: N802 (capitalised as its values are)
        words = [self.words.value().capitalize() for _ in range(self.rng.choice((1, 1, 1, 2)))]
        return " ".join(words)

    def Person(self) -> str:  # noqa: N802
        return self.Name() if self.rng.random() < 0.5 else f"{self.words.value().capitalize()} {self.Name()}"

    def text(self) -> str:
        return " ".join(self.word() for _ in range(self.rng.randint(1, 4)))

    def Text(self) -> str:  # noqa: N802
        return self.text().capitalize()

    def count(self) -> int:
        return self.words.integer(1, 99)

    def amount(self) -> int:
        return self.words.integer(1, 99) * self.rng.choice((1, 5, 10, 100))

    def year(self) -> int:
        return self.words.integer(1800, 2040)

    def signed(self) -> int:
        return self.rng.choice((-1, 1)) * self.words.integer(1, 30)

    def number(self) -> int | float:
        return self.count() if self.rng.random() < 0.5 else self.words.integer(1, 999) / self.rng.choice((10, 100))

    def digits(self) -> str:
        return self.words.digits(self.rng.randint(4, 9))

    def code(self) -> str:
        return "".join(self.rng.choice(LETTERS) for _ in range(3))

    def clock(self) -> str:
        return f"{self.rng.randint(0, 23):02}:{self.rng.choice((0, 15, 20, 30, 45, self.rng.randint(0, 59))):02}"

    def date(self) -> str:
        return f"20{self.rng.randint(10, 39)}-{self.rng.randint(1, 12):02}-{self.rng.randint(1, 28):02}"

    def mail(self) -> str:
        return f"{self.word()}@{self.word()}.{self.rng.choice(('com', 'org', 'net'))}"

    def path(self) -> str:
        return f"/{self.word()}/{self.word()}.{self.rng.choice(('py', 'sh', 'rb', 'txt'))}"

    def formula(self) -> str:
        return f"{self.words.integer(2, 9)}x^{self.words.integer(2, 5)} {self.rng.choice('+-')} {self.words.integer(1, 30)}"

    def integers(self) -> list[int]:
        return [self.words.integer(1, 99) for _ in range(self.rng.randint(2, 6))]


def said(rng: random.Random, value: object) -> str:
    """A value as a request says it."""
    if not isinstance(value, list):
        return str(value)
    if rng.random() < 0.5:
        return json.dumps(value)
    return f"{', '.join(map(str, value[:-1]))} and {value[-1]}"


class Catalogue:
    """Some of the tools as one catalogue names them."""

    def __init__(self, words: Vocabulary, count: int):
        self.words = words
        self.tools = words.rng.sample(all_tools(), count)
        self.style = words.rng.choice(("snake", "snake", "dotted", "camel"))
        self.described = words.rng.random() < 0.5
        self.keys = [{key: self._key(key) for key in tool.kinds} for tool in self.tools]

    def _key(self, key: str) -> str:
        """A key's name here: made up now and then, so that it must be read."""
        if self.described and self.words.rng.random() < 0.2:
            return self.words.made_up()
        return camel(key) if self.style == "camel" else key

    def name(self, index: int) -> str:
        """A tool's name here."""
        tool = self.tools[index]
        if self.style == "dotted":
            return f"{tool.subject}.{tool.name}"
        return camel(tool.name) if self.style == "camel" else tool.name

    def entries(self) -> list[dict]:
        """The tools as `six_columns.catalog` takes them."""
        return [self._entry(index) for index in range(len(self.tools))]

    def _entry(self, index: int) -> dict:
        tool, keys = self.tools[index], self.keys[index]
        properties = {keys[key]: self._schema(key, kind) for key, kind in tool.kinds.items()}
        required = [keys[key] for key in tool.kinds if key not in tool.optional]
        parameters = six_columns.arguments_schema(properties, required)
        return {"name": self.name(index), "description": tool.description, "parameters": parameters}

    def _schema(self, key: str, kind: str) -> dict:
        schema: dict = {"type": TYPES.get(kind, "string")}
        if "/" in kind:
            schema["enum"] = kind.split("/")
        if kind == "integers":
            schema = {"type": "array", "items": {"type": "integer"}}
        if self.described:
            schema["description"] = f"The {key.replace('_', ' ')}."
        return schema

    def ask(self, index: int) -> tuple[str, dict]:
        """A request for a tool, and the arguments of its call in the schema's order."""
        tool, rng = self.tools[index], self.words.rng
        request = rng.choice(tool.requests)
        values = {key: Values(self.words).make(kind) for key, kind in tool.kinds.items() if f"{{{key}}}" in request}
        text = request.format(**{key: said(rng, value) for key, value in values.items()})
        return text, {self.keys[index][key]: value for key, value in values.items()}


def camel(name: str) -> str:
    """reserve_table -> reserveTable."""
    return re.sub("_(.)", lambda match: match[1].upper(), name)


def make_question(row: dict) -> Question:
    """A row's request and call; of the values those are known that stand in the request once."""
    gold = tool_calls.gold_text(row)
    return Question(row["question"], gold, tool_calls.find_copies(row, gold, tool_calls.call_parts(row, gold)))


def make_document(rng: random.Random, level: float) -> Document:
    """A catalogue of everyday tools, often of one or two, now and then with tools that do not say what they do."""
    words = Vocabulary(rng, held_out=False)
    catalogue = Catalogue(words, rng.choice((1, 2, 2 + round(4 * level), 3 + round(7 * level))))
    entries = catalogue.entries()
    if rng.random() < 0.4:
        entries += [tool.catalog_entry() for tool in tool_calls.make_catalog(words, rng.randint(1, 3), 0.3)]
        rng.shuffle(entries)
    count = len(catalogue.tools)
    rows = []
    for index in rng.choices(range(count), k=min(6 * count, rng.randint(8, 14))):
        request, values = catalogue.ask(index)
        rows.append(six_columns.row(entries, request, catalogue.name(index), values, max_new_tokens=128))
    return Document("everyday", Layout.CHAT, rows[0]["context"], tuple(make_question(row) for row in rows))
