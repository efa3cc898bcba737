#!/usr/bin/env python3
"""Writes the tool calls that ship: tasks/data/tool_calls.jsonl and tasks/data/canary_tool_calls.jsonl.

Usage: make_tool_calls.py. Catalogue, requests and prompts are our own. Ten tools with two requests each share one
catalogue (six columns); twelve prompts describe one tool each (kv-canary's form).
"""

import json
import os

import six_columns

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tasks", "data")

TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
NUMBER = {"type": "number"}
FLAG = {"type": "boolean"}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}
UNITS = {"type": "string", "enum": ["mm", "cm", "m", "km", "inch", "foot", "mile"]}


def choice(*words):
    return {"type": "string", "enum": list(words)}


def tool(name, description, required, **properties):
    return {"name": name, "description": description,
            "parameters": six_columns.arguments_schema(properties, required.split())}


TOOLS = [
    tool("reserve_table", "Reserve a table at a restaurant.", "restaurant guests time",
         restaurant=TEXT, guests={"type": "integer", "minimum": 1}, time=TEXT, outdoors=FLAG),
    tool("set_thermostat", "Set the temperature of a room in degrees Celsius.", "room celsius",
         room=choice("kitchen", "bedroom", "bathroom", "office"), celsius={"type": "number", "minimum": 5, "maximum": 30}),
    tool("log_expense", "Write an expense into the household book.", "amount currency category",
         amount=NUMBER, currency=choice("EUR", "USD", "GBP"), category=choice("food", "travel", "rent", "other"), note=TEXT),
    tool("find_recipe", "Find a recipe that uses the given ingredients.", "ingredients",
         ingredients=TEXTS, max_minutes=WHOLE, vegetarian=FLAG),
    tool("track_parcel", "Say where a parcel is.", "tracking_number", tracking_number=TEXT, carrier=TEXT),
    tool("add_to_list", "Add entries to one of the user's lists.", "list entries",
         list=choice("shopping", "todo", "reading"), entries=TEXTS),
    tool("water_plants", "Water one zone of the garden.", "zone liters",
         zone=choice("lawn", "beds", "greenhouse"), liters=NUMBER),
    tool("convert_length", "Convert a length from one unit into another.", "value from_unit to_unit",
         value=NUMBER, from_unit=UNITS, to_unit=UNITS),
    tool("find_train", "Find train connections on a day.", "origin destination date",
         origin=TEXT, destination=TEXT, date=TEXT, first_class=FLAG),
    tool("rate_book", "Store the user's rating of a book, one to five stars.", "title stars",
         title=TEXT, stars={"type": "integer", "minimum": 1, "maximum": 5}, comment=TEXT),
]

REQUESTS = [
    ("Book a table for 4 at Luigi's at 19:30.", "reserve_table", {"restaurant": "Luigi's", "guests": 4, "time": "19:30"}),
    ("We need an outdoor table for 2 people at Sea View at 12:00.", "reserve_table",
     {"restaurant": "Sea View", "guests": 2, "time": "12:00", "outdoors": True}),
    ("Make the bedroom 18 degrees.", "set_thermostat", {"room": "bedroom", "celsius": 18}),
    ("Heat the office to 21.5 degrees Celsius.", "set_thermostat", {"room": "office", "celsius": 21.5}),
    ("I spent 12.50 EUR on food.", "log_expense", {"amount": 12.5, "currency": "EUR", "category": "food"}),
    ("Note a travel expense of 80 USD.", "log_expense", {"amount": 80, "currency": "USD", "category": "travel"}),
    ("What can I cook with rice and tomatoes?", "find_recipe", {"ingredients": ["rice", "tomatoes"]}),
    ("Find a vegetarian recipe with lentils.", "find_recipe", {"ingredients": ["lentils"], "vegetarian": True}),
    ("Where is my parcel? The tracking number is ZX4410.", "track_parcel", {"tracking_number": "ZX4410"}),
    ("Track parcel 778-201, please.", "track_parcel", {"tracking_number": "778-201"}),
    ("Put milk and bread on my shopping list.", "add_to_list", {"list": "shopping", "entries": ["milk", "bread"]}),
    ("Add 'call the plumber' to my todo list.", "add_to_list", {"list": "todo", "entries": ["call the plumber"]}),
    ("Give the lawn 30 liters of water.", "water_plants", {"zone": "lawn", "liters": 30}),
    ("The greenhouse needs 5 liters.", "water_plants", {"zone": "greenhouse", "liters": 5}),
    ("How many cm are 6 inch?", "convert_length", {"value": 6, "from_unit": "inch", "to_unit": "cm"}),
    ("Convert 26.2 mile to km.", "convert_length", {"value": 26.2, "from_unit": "mile", "to_unit": "km"}),
    ("Find a train from Lyon to Milan on 2027-03-14.", "find_train",
     {"origin": "Lyon", "destination": "Milan", "date": "2027-03-14"}),
    ("I want to go first class by train from Oslo to Bergen on 2027-05-02.", "find_train",
     {"origin": "Oslo", "destination": "Bergen", "date": "2027-05-02", "first_class": True}),
    ("Rate the book Dune with 5 stars.", "rate_book", {"title": "Dune", "stars": 5}),
    ("I give Emma 3 stars.", "rate_book", {"title": "Emma", "stars": 3}),
]

CANARY = [
    ("lamp", "switch_lamp(room: string, on: boolean)", "switch the lamp in the hall on",
     {"room": "hall", "on": True}),
    ("note", "write_note(title: string, text: string)", "write the text 'eggs' into a note with the title 'Friday'",
     {"title": "Friday", "text": "eggs"}),
    ("tide", "get_tide(harbor: string)", "get the tide at Brest", {"harbor": "Brest"}),
    ("alarm", "set_alarm(hour: integer, minute: integer)", "set an alarm for 6:45", {"hour": 6, "minute": 45}),
    ("word", "define_word(word: string)", "look up the meaning of 'ember'", {"word": "ember"}),
    ("volume", "set_volume(percent: number)", "set the volume to 30 percent", {"percent": 30}),
    ("train", "find_train(origin: string, destination: string)", "find a train from Graz to Linz",
     {"origin": "Graz", "destination": "Linz"}),
    ("file", "delete_file(path: string)", "delete the file old.txt", {"path": "old.txt"}),
    ("pay", "pay(amount: number, to: string)", "pay 25 to Nora", {"amount": 25, "to": "Nora"}),
    ("stock", "count_stock(item: string)", "count how many hammers are in stock (item hammer)", {"item": "hammer"}),
    ("door", "lock_door(door: string, locked: boolean)", "unlock the garage door (door garage)",
     {"door": "garage", "locked": False}),
    ("score", "add_score(player: string, points: integer)", "add 7 points for player Kim", {"player": "Kim", "points": 7}),
]


def canary_row(key, signature, wish, arguments):
    name = signature.split("(")[0]
    prompt = (f"You have one tool: {signature}. Reply with ONLY a JSON object "
              f'{{"name": ..., "arguments": {{...}}}} to {wish}.')
    return {"id": key, "prompt": prompt, "gold": {"name": name, "arguments": arguments}}


def main():
    rows = [six_columns.row(TOOLS, request, name, arguments) for request, name, arguments in REQUESTS]
    six_columns.write(rows, os.path.join(DATA, "tool_calls.jsonl"))
    with open(os.path.join(DATA, "canary_tool_calls.jsonl"), "w", encoding="utf-8") as file:
        for entry in CANARY:
            file.write(json.dumps(canary_row(*entry)) + "\n")


if __name__ == "__main__":
    main()
