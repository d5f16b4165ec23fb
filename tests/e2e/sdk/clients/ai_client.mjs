// Vercel's AI SDK with its provider for OpenAI-compatible servers: plain, streamed, and in a loop with a tool. As the
// other scripts: the names of the calls are the arguments, one line of JSON is the answer.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

const { BASE_URL, API_KEY, MODEL } = process.env;
const gateway = createOpenAICompatible({ name: "torana", baseURL: BASE_URL, apiKey: API_KEY, includeUsage: true });
const question = {
  model: gateway(MODEL),
  prompt: "Count from one to five.",
  maxOutputTokens: 24,
  temperature: 0,
  maxRetries: 0,
};
const weather = tool({
  description: "The weather in a city",
  inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"] }),
  execute: async ({ city }) => `sunny in ${city}`,
});
const agent = {
  ...question,
  prompt: 'call weather {"city": "Paris"}',
  tools: { weather },
  stopWhen: stepCountIs(3),
};

async function told(answer) {
  const steps = await answer.steps;
  return { results: steps.flatMap((step) => step.toolResults.map(({ output }) => output)), text: await answer.text };
}

const calls = {
  async plain() {
    const answer = await generateText(question);
    return {
      model: answer.response.modelId,
      text: answer.text,
      finish: answer.finishReason,
      tokens: answer.usage.outputTokens,
    };
  },

  async stream() {
    const answer = streamText(question);
    const pieces = [];
    for await (const piece of answer.textStream) pieces.push(piece);
    const tokens = (await answer.usage).outputTokens;
    return { pieces: pieces.length, text: pieces.join(""), finish: await answer.finishReason, tokens };
  },

  async tools() {
    return told(await generateText(agent));
  },

  async tools_stream() {
    const answer = streamText(agent);
    await answer.consumeStream();
    return told(answer);
  },
};

const outcomes = {};
for (const name of process.argv.slice(2)) {
  try {
    outcomes[name] = await calls[name]();
  } catch (error) {
    outcomes[name] = { error: error.constructor.name, status: error.statusCode ?? null, message: error.message };
  }
}
console.log(JSON.stringify(outcomes));
