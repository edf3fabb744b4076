"""The official `openai` client against a running server: its address comes in SPECKV_URL, its key
(if any) in SPECKV_API_KEY.
"""

import os

import openai
import pytest

URL = os.environ.get("SPECKV_URL", "http://127.0.0.1:8080").rstrip("/")
KEY = os.environ.get("SPECKV_API_KEY") or "none"


@pytest.fixture(scope="session")
def client():
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=120)


@pytest.fixture(scope="session")
def model(client):
    return client.models.list().data[0].id


@pytest.fixture(scope="session")
def url():
    return URL
