"""Five schemas from small to large, with the question that each answers."""


def closed(**fields):
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


TEXT = {"type": "string", "maxLength": 60}
WORD = {"type": "string", "maxLength": 20}
COUNT = {"type": "integer", "minimum": 0, "maximum": 1000}

SCHEMAS = {
    "flag": (closed(is_question=WORD, confidence_in_percent=COUNT), "Is this a question? Answer with a word and your confidence."),
    "person": (
        closed(first_name=WORD, last_name=WORD, year_of_birth={"type": "integer", "minimum": 1000, "maximum": 2030}, country_of_birth=WORD, main_occupation=TEXT),
        "Describe Ada Lovelace.",
    ),
    "weather": (
        closed(
            city_name=WORD,
            temperature_unit={"enum": ["celsius", "fahrenheit"]},
            forecast_days={
                "type": "array",
                "minItems": 3,
                "maxItems": 3,
                "items": closed(day_of_week={"enum": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]}, highest_temperature=COUNT, chance_of_rain_in_percent=COUNT),
            },
        ),
        "Give a forecast of three days for Bern.",
    ),
    "order": (
        closed(
            order_identifier={"type": "string", "pattern": "^[A-Z]{3}-[0-9]{6}$"},
            customer=closed(full_name=WORD, email_address=TEXT, is_premium_member={"type": "boolean"}),
            shipping_address=closed(street_and_number=TEXT, postal_code={"type": "string", "pattern": "^[0-9]{4,5}$"}, city_name=WORD, country_code={"enum": ["CH", "DE", "FR", "IT"]}),
            ordered_items={"type": "array", "minItems": 2, "maxItems": 2, "items": closed(product_name=WORD, quantity_ordered=COUNT, unit_price_in_cents=COUNT)},
        ),
        "Make up an order of two books.",
    ),
    "report": (
        closed(
            **{
                f"section_{number}": closed(
                    section_title=WORD,
                    severity_of_findings={"enum": ["none", "minor", "major", "critical"]},
                    number_of_open_questions=COUNT,
                    is_reviewed_by_a_second_person={"type": "boolean"},
                )
                for number in range(1, 7)
            }
        ),
        "Make up a report of six sections on a bridge.",
    ),
}
