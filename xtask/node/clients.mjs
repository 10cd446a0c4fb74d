// OpenAI's own JavaScript client against a node, or against a proxy before it.
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'none', maxRetries: 0 });

function expect(what, condition) {
  if (!condition) {
    console.error(`${what}: not so`);
    process.exit(1);
  }
  console.log(`ok  ${what}`);
}

const messages = [{ role: 'user', content: 'What is a lock?' }];
const models = await client.models.list();
expect('the default model is listed', models.data.some((model) => model.id === 'default'));

const chat = await client.chat.completions.create({ model: 'default', messages, max_tokens: 16, seed: 7 });
expect('a chat has text and a receipt', chat.choices[0].message.content !== '' && chat.tally.receipt);

let text = '';
let last;
const stream = await client.chat.completions.create({ model: 'default', messages, max_tokens: 16, seed: 7, stream: true });
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? '';
  last = chunk;
}
expect('a stream says the same', text === chat.choices[0].message.content);
expect('a stream ends with its receipt', last.tally.id.length === 32);

const forced = await client.chat.completions.create({
  model: 'default',
  messages,
  max_tokens: 120,
  tools: [{
    type: 'function',
    function: {
      name: 'look_up',
      parameters: { type: 'object', properties: { word: { type: 'string', maxLength: 12 } }, required: ['word'], additionalProperties: false },
    },
  }],
  tool_choice: { type: 'function', function: { name: 'look_up' } },
});
const call = forced.choices[0].message.tool_calls[0];
expect('a forced call has its schema', Object.keys(JSON.parse(call.function.arguments)).join() === 'word');

const formed = await client.chat.completions.create({
  model: 'default',
  messages,
  max_tokens: 100,
  response_format: {
    type: 'json_schema',
    json_schema: { name: 'yes', schema: { type: 'object', properties: { yes: { type: 'boolean' } }, required: ['yes'], additionalProperties: false } },
  },
});
expect('an answer has its schema', typeof JSON.parse(formed.choices[0].message.content).yes === 'boolean');

try {
  await client.chat.completions.create({ model: 'none', messages });
  expect('an unknown model is refused', false);
} catch (error) {
  expect('an unknown model is refused', error instanceof OpenAI.NotFoundError && error.code === 'model_not_found');
}
