// The official OpenAI SDK for JavaScript, plain and streamed. As the Python scripts: the names of the calls are the
// arguments, one line of JSON is the answer.

import OpenAI from "openai";

const { BASE_URL, API_KEY, MODEL } = process.env;
const client = new OpenAI({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0 });
const question = {
  model: MODEL,
  messages: [{ role: "user", content: "Count from one to five." }],
  max_tokens: 24,
  temperature: 0,
};

const calls = {
  async plain() {
    const answer = await client.chat.completions.create(question);
    const [choice] = answer.choices;
    return {
      model: answer.model,
      text: choice.message.content,
      finish: choice.finish_reason,
      tokens: answer.usage.completion_tokens,
    };
  },

  async stream() {
    const pieces = [];
    let finish = null;
    for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
      const [choice] = chunk.choices;
      if (choice?.delta.content) pieces.push(choice.delta.content);
      finish = choice?.finish_reason ?? finish;
    }
    return { pieces: pieces.length, text: pieces.join(""), finish };
  },
};

const outcomes = {};
for (const name of process.argv.slice(2)) {
  try {
    outcomes[name] = await calls[name]();
  } catch (error) {
    outcomes[name] = { error: error.constructor.name, status: error.status ?? null, message: error.message };
  }
}
console.log(JSON.stringify(outcomes));
