"""The conversations for which the templates are rendered."""

CONVERSATIONS = {
    "one": {"messages": [{"role": "user", "content": "Hello there"}]},
    "none": {"messages": []},
    "system": {
        "messages": [
            {"role": "system", "content": " Be brief. "},
            {"role": "user", "content": "Hi\n"},
        ]
    },
    "turns": {
        "messages": [
            {"role": "user", "content": "One"},
            {"role": "assistant", "content": "<think>\nhm\n</think>\n\nTwo"},
            {"role": "user", "content": "Three < 4 & {{ x }}"},
        ]
    },
    "closed": {
        "add_generation_prompt": False,
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "U"},
            {"role": "assistant", "content": "A", "reasoning_content": "R"},
        ],
    },
    "tools": {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": 'The "weather" of a city.',
                    "parameters": {
                        "type": "object",
                        "properties": {
                            "city": {"type": "string", "description": "Name"},
                            "days": {"type": "integer", "default": 1},
                        },
                        "required": ["city"],
                    },
                },
            }
        ],
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {
                            "name": "weather",
                            "arguments": {"city": "Köln", "days": 2, "units": None},
                        },
                    }
                ],
            },
            {
                "role": "tool",
                "name": "weather",
                "tool_call_id": "call_1",
                "content": '{"sky": "grey"}',
            },
            {"role": "tool", "content": "rain"},
        ],
    },
    "parts": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "Look: "}, {"type": "text", "text": "here"}],
            }
        ]
    },
    "kwargs": {
        "enable_thinking": False,
        "thinking": True,
        "custom": {"a": [1, 2]},
        "date_string": "1 Jan 2026",
        "messages": [{"role": "developer", "content": "D"}, {"role": "user", "content": "Q"}],
    },
    "wrong": {
        "messages": [{"role": "assistant", "content": "A"}, {"role": "assistant", "content": "B"}]
    },
}
