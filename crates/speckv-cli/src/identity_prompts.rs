//! The built-in prompts of `speckv identity`.

/// Code and prose, easy and hard to predict, so that drafts of every length are accepted and
/// rejected.
pub const TEXTS: [&str; 16] = [
    "Write a Python function that checks whether a number is prime.",
    "Explain in three sentences why the sky is blue.",
    "Count from one to forty in words.",
    "Write a short poem about a lighthouse in winter.",
    "Translate into French: The train leaves at seven and the station is far away.",
    "Write an SQL query for the five customers with the highest sum of orders.",
    "List ten animals in alphabetical order and say one thing about each.",
    "What is the difference between a process and a thread?",
    "Write a Rust struct for a stack of integers with push, pop and peek.",
    "Tell a story about a clockmaker who loses an hour.",
    "Solve step by step: a shop sells pens at 3 for 2 euros. What do 21 pens cost?",
    "Write a JSON object that describes a bicycle with twelve fields.",
    "Name the planets from the sun outward with one number for each.",
    "Write a regular expression for dates such as 2024-02-29 and explain its parts.",
    "Repeat the word echo thirty times, separated by commas.",
    "Write a shell script that renames all files in a folder to lower case.",
];
