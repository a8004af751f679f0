// The official Node client, doing one thing at the endpoint as its users would, and printing as JSON what it got.
// usage: node client.mjs BASE_URL TOKEN STEP
// The package is found beside this file or by NODE_PATH, which only `require` honours.

import { createRequire } from 'node:module';

const OpenAI = createRequire(import.meta.url)('openai');
const [baseURL, apiKey, step] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: 'user', content: 'Write to Ann' }];
const asked = { model: 'ditto/email', messages };

const steps = {
  async chat() {
    const answer = await client.chat.completions.create(asked);
    return { choice: answer.choices[0], model: answer.model, tokens: answer.usage.total_tokens };
  },

  async stream() {
    const options = { stream: true, stream_options: { include_usage: true } };
    const pieces = [];
    let last;
    for await (const chunk of await client.chat.completions.create({ ...asked, ...options })) {
      pieces.push(...chunk.choices.map((choice) => choice.delta.content ?? choice.finish_reason));
      last = chunk;
    }
    return { pieces, tokens: last.usage.total_tokens };
  },

  async interrupt() {
    const stream = await client.chat.completions.create({ ...asked, stream: true });
    let seen = '';
    for await (const chunk of stream) {
      seen += chunk.choices[0].delta.content ?? '';
      if (seen) stream.controller.abort();
    }
    const after = await client.chat.completions.create({ ...asked, max_tokens: 1 });
    return { seen, after: after.choices[0].message.content };
  },

  async respond() {
    const kinds = [];
    const stream = client.responses.stream({ model: 'ditto/email', input: 'Write to Ann' });
    for await (const event of stream) kinds.push(event.type);
    const first = await stream.finalResponse();
    const second = await client.responses.create({ model: 'base', input: 'And?', previous_response_id: first.id });
    return { kinds, first: first.output_text, second: second.output_text };
  },

  async runTools() {
    const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
    const weather = ({ city }) => `rain in ${city}`;
    const tool = { name: 'Weather', description: 'of a city', parse: JSON.parse, parameters, function: weather };
    const tools = [{ type: 'function', function: tool }];
    const runner = client.chat.completions.runTools({ ...asked, stream: true, tools });
    return { answer: await runner.finalContent(), roles: runner.messages.map((message) => message.role) };
  },

  async embed() {
    const found = await client.embeddings.create({ model: 'base', input: ['a b', 'c'] });
    return found.data.map((each) => each.embedding.map((number) => number.toFixed(1)));
  },

  async models() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    return { names, one: (await client.models.retrieve('ditto/email@1')).id };
  },

  async fail() {
    const told = ({ constructor, status, code, param }) => [constructor.name, status, code, param];
    const stranger = client.withOptions({ apiKey: 'wrong' });
    return [
      await client.chat.completions.create({ ...asked, model: 'gpt-5' }).catch(told),
      await client.chat.completions.create({ ...asked, temperature: 9, stream: true }).catch(told),
      await stranger.models.list().catch(told),
    ];
  },
};

console.log(JSON.stringify(await steps[step]()));
